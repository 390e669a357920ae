"""The system calls that are allowed and why, and what the others are called in a report.

Each with its numbers on x86-64 and arm64, "-" where there is no such call: from the kernel's
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. Which are needed was
found by tracing gradings (`strace -f`) with torch's CPU build and its default build; the others
that are allowed are what the C library uses in their place on newer systems, or honest habits.
"""

from __future__ import annotations

Numbers = tuple[int | None, int | None]
WRITE_FILE = "write a file"
START_PROCESS = "start a process"
SIGNAL_OTHERS = "signal another process"
CHANGE_LIMITS = "change its limits"


def _calls(text: str) -> dict[str, Numbers]:
    rows = (row.split() for row in text.split(","))
    return {name: (_number(first), _number(second)) for name, first, second in rows}


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


# Whatever their arguments. They reach the process itself, what it has open, and what Landlock
# lets it read.
ALLOWED: dict[str, dict[str, Numbers]] = {
    "read files and folders": _calls("""
        read 0 63, readv 19 65, pread64 17 67, preadv 295 69, lseek 8 62, close 3 57,
        close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24, getdents64 217 61, stat 4 -,
        lstat 6 -, fstat 5 80, newfstatat 262 79, statx 332 291, statfs 137 43, fstatfs 138 44,
        access 21 -, faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78,
        getcwd 79 17, chdir 80 49, fchdir 81 50, fadvise64 221 223"""),
    "print, and reply to the grader": _calls("write 1 64, writev 20 66"),
    "have memory; libraries are mapped and made executable by the same calls": _calls("""
        mmap 9 222, munmap 11 215, mremap 25 216, mprotect 10 226, brk 12 214, mincore 27 232,
        get_mempolicy 239 236, set_mempolicy 238 237, mbind 237 235"""),
    "run threads, which the judged clone makes, and end": _calls("""
        futex 202 98, futex_waitv 449 449, set_robust_list 273 99, rseq 334 293,
        set_tid_address 218 96, gettid 186 178, exit 60 93, exit_group 231 94,
        sched_yield 24 124, membarrier 324 283, getcpu 309 168, sched_getaffinity 204 123,
        sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125,
        sched_get_priority_min 147 126"""),
    "use the processor's matrix units (oneDNN)": _calls("arch_prctl 158 -"),
    "tell the time and wait": _calls("""
        clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, nanosleep 35 101,
        restart_syscall 219 128, gettimeofday 96 169, time 201 -, times 100 153, alarm 37 -,
        getitimer 36 102, setitimer 38 103"""),
    "handle signals": _calls("""
        rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
        rt_sigsuspend 130 133, rt_sigtimedwait 128 137, sigaltstack 131 132, pause 34 -"""),
    "let threads wait for each other by pipes (selectors makes one when imported)": _calls("""
        pipe 22 -, pipe2 293 59, eventfd2 290 19, poll 7 -, ppoll 271 73, select 23 -,
        pselect6 270 72, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21,
        epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441, wait4 61 260,
        waitid 247 95"""),
    "ask about itself and the machine": _calls("""
        getpid 39 172, getppid 110 173, getuid 102 174, geteuid 107 175, getgid 104 176,
        getegid 108 177, getresuid 118 148, getresgid 120 150, getgroups 115 158, getpgrp 111 -,
        getpgid 121 155, getsid 124 156, getpriority 140 141, getrlimit 97 163,
        getrusage 98 165, uname 63 160, sysinfo 99 179, getrandom 318 278, umask 95 166"""),
}

# Every other call is denied. These have a sentence of their own; what an argument decides
# (JUDGED) has it too, for when it is denied. A call that is not here is reported by its number.
DENIED: dict[str, dict[str, Numbers]] = {
    "open a socket": _calls("""
        socket 41 198, socketpair 53 199, connect 42 203, bind 49 200, accept4 288 242,
        sendmsg 46 211"""),
    START_PROCESS: _calls("clone 56 220, fork 57 -, vfork 58 -, execve 59 221, execveat 322 281"),
    WRITE_FILE: _calls("open 2 -, openat 257 56, creat 85 -, truncate 76 45, ftruncate 77 46"),
    "delete a file": _calls("unlink 87 -, unlinkat 263 35, rmdir 84 -"),
    "rename a file": _calls("rename 82 -, renameat 264 38, renameat2 316 276"),
    "make a folder, link or device": _calls("""
        mkdir 83 -, mkdirat 258 34, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36,
        mknod 133 -, mknodat 259 33"""),
    "change a file's rights, owner, times or attributes": _calls("""
        chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, chown 92 -, fchown 93 55,
        lchown 94 -, fchownat 260 54, utime 132 -, utimes 235 -, futimesat 261 -,
        utimensat 280 88, setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, setxattrat 463 463,
        removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, removexattrat 466 466,
        file_setattr 469 469"""),
    "change or lock an open file or device": _calls("ioctl 16 29, fcntl 72 25, flock 73 32"),
    "look into another process": _calls("""
        ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271,
        pidfd_open 434 434, pidfd_getfd 438 438, kcmp 312 272"""),
    SIGNAL_OTHERS: _calls("""
        kill 62 129, tkill 200 130, tgkill 234 131, rt_sigqueueinfo 129 138,
        rt_tgsigqueueinfo 297 240, pidfd_send_signal 424 424"""),
    CHANGE_LIMITS: _calls("setrlimit 160 164, prlimit64 302 261"),
    "change a process's priority or processors": _calls("""
        setpriority 141 140, ioprio_set 251 30, sched_setparam 142 118,
        sched_setscheduler 144 119, sched_setattr 314 274, sched_setaffinity 203 122"""),
    "change how the system treats it": _calls("""
        prctl 157 167, madvise 28 233, seccomp 317 277, landlock_restrict_self 446 446,
        personality 135 92, setsid 112 157, setpgid 109 154, setuid 105 146, capset 126 91"""),
    "use shared memory or a message queue": _calls("""
        shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, semop 65 193, semctl 66 191,
        msgget 68 186, msgsnd 69 189, msgrcv 70 188, msgctl 71 187, mq_open 240 180,
        memfd_create 319 279"""),
    "watch files": _calls("inotify_init 253 -, inotify_init1 294 26, fanotify_init 300 262"),
    "change the system": _calls("""
        mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, unshare 272 97,
        setns 308 268, sethostname 170 161, settimeofday 164 170, clock_settime 227 112,
        syslog 103 116, sync 162 81, init_module 175 105, kexec_load 246 104, iopl 172 -"""),
    # Large parts of the kernel, where most of its holes were found.
    "use a part of the kernel that no model needs": _calls("""
        bpf 321 280, perf_event_open 298 241, io_uring_setup 425 425, io_uring_enter 426 426,
        keyctl 250 219, add_key 248 217, userfaultfd 323 282, open_by_handle_at 304 265"""),
}
# Which of these pass is decided by their arguments; seccomp.py says how.
_JUDGED = (
    "clone", "open", "openat", "sendmsg", "socket", "ioctl", "fcntl", "prctl", "madvise", "kill",
    "tgkill", "prlimit64", "sched_setaffinity",
)  # fmt: skip
JUDGED = {name: calls[name] for calls in DENIED.values() for name in calls if name in _JUDGED}
# Their arguments lie in memory, which a filter cannot read. Reported as missing, for which the
# C library has the older call.
MISSING = _calls("clone3 435 435, openat2 437 437")
