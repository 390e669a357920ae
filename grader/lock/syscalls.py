"""The system calls that are denied, by what they would do, with their numbers.

(x86-64, arm64), None where there is no such call: from the kernel's
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

Numbers = tuple[int | None, int | None]

# Judged by their arguments; see seccomp.py.
CLONE: Numbers = (56, 220)
CLONE3: Numbers = (435, 435)
KILL: Numbers = (62, 129)
TGKILL: Numbers = (234, 131)
PRLIMIT64: Numbers = (302, 261)
OPEN: Numbers = (2, None)
OPENAT: Numbers = (257, 56)
OPENAT2: Numbers = (437, 437)

START_PROCESS = "start a process"
SIGNAL_OTHERS = "signal another process"
CHANGE_LIMITS = "change its limits"
WRITE_FILE = "write a file"

DENIED: dict[str, dict[str, Numbers]] = {
    "open a socket": {
        "socket": (41, 198),
        "socketpair": (53, 199),
        "connect": (42, 203),
        "bind": (49, 200),
        "listen": (50, 201),
        "accept": (43, 202),
        "accept4": (288, 242),
    },
    START_PROCESS: {
        "fork": (57, None),
        "vfork": (58, None),
        "execve": (59, 221),
        "execveat": (322, 281),
    },
    WRITE_FILE: {"creat": (85, None), "truncate": (76, 45)},
    "delete a file": {"unlink": (87, None), "unlinkat": (263, 35), "rmdir": (84, None)},
    "rename a file": {"rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276)},
    "make a folder, link or device": {
        "mkdir": (83, None),
        "mkdirat": (258, 34),
        "link": (86, None),
        "linkat": (265, 37),
        "symlink": (88, None),
        "symlinkat": (266, 36),
        "mknod": (133, None),
        "mknodat": (259, 33),
    },
    "change a file's rights, owner, times or attributes": {
        "chmod": (90, None),
        "fchmod": (91, 52),
        "fchmodat": (268, 53),
        "fchmodat2": (452, 452),
        "chown": (92, None),
        "fchown": (93, 55),
        "lchown": (94, None),
        "fchownat": (260, 54),
        "utime": (132, None),
        "utimes": (235, None),
        "futimesat": (261, None),
        "utimensat": (280, 88),
        "setxattr": (188, 5),
        "lsetxattr": (189, 6),
        "fsetxattr": (190, 7),
        "removexattr": (197, 14),
        "lremovexattr": (198, 15),
        "fremovexattr": (199, 16),
    },
    "look into another process": {
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "pidfd_open": (434, 434),
        "pidfd_getfd": (438, 438),
        "kcmp": (312, 272),
    },
    SIGNAL_OTHERS: {
        "tkill": (200, 130),
        "rt_sigqueueinfo": (129, 138),
        "rt_tgsigqueueinfo": (297, 240),
        "pidfd_send_signal": (424, 424),
    },
    CHANGE_LIMITS: {"setrlimit": (160, 164)},
    # These would outlive the process.
    "make shared memory or a message queue": {
        "shmget": (29, 194),
        "semget": (64, 190),
        "msgget": (68, 186),
        "mq_open": (240, 180),
        "mq_unlink": (241, 181),
    },
    "change the system": {
        "mount": (165, 40),
        "umount2": (166, 39),
        "pivot_root": (155, 41),
        "chroot": (161, 51),
        "open_tree": (428, 428),
        "move_mount": (429, 429),
        "fsopen": (430, 430),
        "fsconfig": (431, 431),
        "fsmount": (432, 432),
        "fspick": (433, 433),
        "mount_setattr": (442, 442),
        "unshare": (272, 97),
        "setns": (308, 268),
        "reboot": (169, 142),
        "swapon": (167, 224),
        "swapoff": (168, 225),
        "sethostname": (170, 161),
        "setdomainname": (171, 162),
        "settimeofday": (164, 170),
        "clock_settime": (227, 112),
        "acct": (163, 89),
        "quotactl": (179, 60),
        "syslog": (103, 116),
        "init_module": (175, 105),
        "finit_module": (313, 273),
        "delete_module": (176, 106),
        "kexec_load": (246, 104),
        "kexec_file_load": (320, 294),
        "iopl": (172, None),
        "ioperm": (173, None),
    },
    # Large parts of the kernel that no model needs, and where most of its holes were found.
    "use a part of the kernel that no model needs": {
        "bpf": (321, 280),
        "perf_event_open": (298, 241),
        "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        "keyctl": (250, 219),
        "add_key": (248, 217),
        "request_key": (249, 218),
        "userfaultfd": (323, 282),
        "name_to_handle_at": (303, 264),
        "open_by_handle_at": (304, 265),
        "fanotify_init": (300, 262),
    },
}
