"""A submission in the style of the course's starter code, for the versions that the course pins.

    HF_HUB_CACHE=HUB PYTHON tests/starter_style.py FOLDER SPLIT

writes, with the packages of PYTHON, a tiny random SmolVLM into HUB, in the layout of the hub's
downloads, and into FOLDER the `homework` of a submission with a PEFT adapter for it. Its code
loads the base by its name through AutoModelForVision2Seq. transformers 5 has no such class: with it
the code uses the one that took its place. Then the answers in the QA files of SPLIT, a
folder, become those of the submission, asked without a grader.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

CHECKPOINT = "HuggingFaceTB/SmolVLM-256M-Instruct"
REVISION = "0" * 40
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>",
           "<image>", "<global-img>")  # fmt: skip
IMAGE, PATCH, SCALE = 64, 16, 2
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for line in message['content'] %}{% if line['type'] == 'image' %}{{ '<image>' }}"
    "{% else %}{{ line['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

BASE_VLM = f"""
import torch
from transformers import AutoModelForVision2Seq, AutoProcessor
from transformers.image_utils import load_image

class BaseVLM:
    def __init__(self, checkpoint="{CHECKPOINT}"):
        self.processor = AutoProcessor.from_pretrained(checkpoint)
        self.model = AutoModelForVision2Seq.from_pretrained(checkpoint, torch_dtype=torch.float32)

    def batched_generate(self, image_paths, questions):
        images = [[load_image(path)] for path in image_paths]
        prompts = [
            self.processor.apply_chat_template(
                [{{"role": "user", "content": [
                    {{"type": "image"}}, {{"type": "text", "text": question}}]}}],
                add_generation_prompt=True,
            )
            for question in questions
        ]
        inputs = self.processor(
            text=prompts, images=images, return_tensors="pt", padding=True, padding_side="left")
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, max_new_tokens=2, do_sample=False)
        return self.processor.batch_decode(
            tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def answer(self, image_paths, questions):
        return self.batched_generate(image_paths, questions)
"""
FINETUNE = """
from pathlib import Path

from peft import PeftModel

from .base_vlm import BaseVLM

def load(name="vlm_model"):
    vlm = BaseVLM()
    vlm.model = PeftModel.from_pretrained(vlm.model, Path(__file__).parent / name).eval()
    return vlm
"""
INIT = "from . import data\nfrom .base_vlm import BaseVLM\nfrom .finetune import load as load_vlm\n"


def write_base(folder: Path) -> None:
    """A random SmolVLM with a hundredth of a million parameters, and its processor."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab = {t: i for i, t in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    bytes_alone = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_alone.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_alone,
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        additional_special_tokens=list(SPECIAL[3:]),
        model_input_names=["input_ids", "attention_mask"],
    )
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = transformers.Idefics3Config(
        image_token_id=vocab["<image>"],
        pad_token_id=0,
        scale_factor=SCALE,
        vision_config=size | {"num_attention_heads": 2, "image_size": IMAGE, "patch_size": PATCH},
        text_config=size
        | {
            "model_type": "llama",
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": len(vocab),
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    )
    torch.manual_seed(0)
    transformers.Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    # The class of the name without "Pil" needs torchvision in transformers 5.
    pil = getattr(transformers, "Idefics3ImageProcessorPil", None)
    edge = {"longest_edge": IMAGE}
    transformers.Idefics3Processor(
        (pil or transformers.Idefics3ImageProcessor)(
            size=edge, max_image_size=edge, do_image_splitting=False
        ),
        tokenizer,
        image_seq_len=(IMAGE // PATCH // SCALE) ** 2,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)


def write_adapter(base: Path, folder: Path) -> None:
    """A random LoRA adapter for the base, as PEFT saves one."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Idefics3ForConditionalGeneration

    model = Idefics3ForConditionalGeneration.from_pretrained(base)
    torch.manual_seed(1)
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(folder)


def write(cache: Path, folder: Path) -> None:
    """The base in the cache, and the `homework` folder of the submission."""
    import transformers
    from fake_submission import DATA

    place = cache / f"models--{CHECKPOINT.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(REVISION)
    base = place / "snapshots" / REVISION
    write_base(base)
    write_adapter(base, folder / "vlm_model")
    code = BASE_VLM
    if int(transformers.__version__.split(".")[0]) >= 5:
        code = code.replace("AutoModelForVision2Seq", "AutoModelForImageTextToText")
    files = {"__init__.py": INIT, "base_vlm.py": code, "finetune.py": FINETUNE, "data.py": DATA}
    for name, text in files.items():
        (folder / name).write_text(text)


def answer(folder: Path, split: Path) -> None:
    """Put the submission's own answers into the QA files of a split."""
    sys.path.insert(0, str(folder.parent))
    from homework import load_vlm

    vlm = load_vlm()
    for file in split.glob("*_qa_pairs.json"):
        pairs = json.loads(file.read_text())
        paths = [str(split.parent / pair["image_file"]) for pair in pairs]
        answers = vlm.answer(paths, [pair["question"] for pair in pairs])
        changed = [pair | {"answer": text} for pair, text in zip(pairs, answers, strict=True)]
        file.write_text(json.dumps(changed))


if __name__ == "__main__":
    write(Path(os.environ["HF_HUB_CACHE"]), Path(sys.argv[1]))
    answer(Path(sys.argv[1]), Path(sys.argv[2]))
