"""What lora-merge into, resize and extract and lora-inspect --norms do, in PyTorch as sd-scripts has it, in float:

adapter_torch.py merge CHECKPOINT ADAPTER OUT: SDXL in a single file, kohya's names
adapter_torch.py norms ADAPTER
adapter_torch.py resize ADAPTER RANK OUT
adapter_torch.py extract BASE TUNED RANK OUT: the same names

Singular values by torch.svd_lowrank, as sd-scripts takes it for large matrices; of all values, which it takes for the
others, a 1280x1280 layer alone needs a second.
"""
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

# Stability's names of the second text encoder, kohya's of the same
OPENCLIP = {"mlp_c_fc": "mlp_fc1", "mlp_c_proj": "mlp_fc2", "attn_out_proj": "self_attn_out_proj"}


def modules(path):
    """Name and dW of each module of a LoRA."""
    with safe_open(path, "pt") as f:
        for key in f.keys():
            if key.endswith(".lora_down.weight"):
                name = key.removesuffix(".lora_down.weight")
                down, up = f.get_tensor(key).float(), f.get_tensor(name + ".lora_up.weight").float()
                yield name, f.get_tensor(name + ".alpha").item() / len(down) * (up @ down)


def places(weights):
    """From kohya's name of a layer to its tensor, and to which third of its rows."""
    at = {}
    for key in weights:
        name = key.removesuffix(".weight").replace(".", "_")
        if name.startswith("model_diffusion_model_"):
            at["lora_unet_" + name.removeprefix("model_diffusion_model_")] = key, None
        elif name.startswith("conditioner_embedders_0_transformer_"):
            at["lora_te1_" + name.removeprefix("conditioner_embedders_0_transformer_")] = key, None
        elif "_resblocks_" in name:
            layer, part = name.split("_resblocks_")[1].split("_", 1)
            layer = f"lora_te2_text_model_encoder_layers_{layer}_"
            at[layer + OPENCLIP.get(part, part)] = key, None
            if part == "attn_in_proj_weight":
                for third, letter in enumerate("qkv"):
                    at[f"{layer}self_attn_{letter}_proj"] = key, third
    return at


def merge(checkpoint, adapter, out):
    weights = load_file(checkpoint)
    at = places(weights)
    for name, dw in modules(adapter):
        key, third = at[name]
        w = weights[key] if third is None else weights[key].chunk(3)[third]
        w.copy_((w.float() + dw).to(w.dtype))
    save_file(weights, out)


def norms(adapter):
    for name, dw in modules(adapter):
        print(name, dw.norm().item())


def add_lora(out, name, dw, rank, columns):
    u, s, v = torch.svd_lowrank(dw, q=min(columns, *dw.shape), niter=2)
    out[name + ".lora_up.weight"] = (u[:, :rank] * s[:rank]).contiguous()
    out[name + ".lora_down.weight"] = v[:, :rank].T.contiguous()
    out[name + ".alpha"] = torch.tensor(float(rank))


def resize(adapter, rank, out):
    made = {}
    for name, dw in modules(adapter):
        add_lora(made, name, dw, int(rank), 2 * int(rank))
    save_file(made, out)


def extract(base, tuned, rank, out):
    made = {}
    with safe_open(base, "pt") as a, safe_open(tuned, "pt") as b:
        for name, (key, third) in places(a.keys()).items():
            if len(a.get_slice(key).get_shape()) < 2:
                continue
            before, after = a.get_tensor(key), b.get_tensor(key)
            if third is not None:
                before, after = before.chunk(3)[third], after.chunk(3)[third]
            if not torch.equal(before, after):
                add_lora(made, name, (after.float() - before.float()).flatten(1), int(rank), int(rank) + 8)
    save_file(made, out)


{"merge": merge, "norms": norms, "resize": resize, "extract": extract}[sys.argv[1]](*sys.argv[2:])
