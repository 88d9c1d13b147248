#!/usr/bin/env python3
"""How far an extracted adapter is from the best of its rank: svd_of_models.py BASE TUNED MERGED REPORT

Diffusers folders; MERGED is BASE with the adapter in its weights.  For every module of REPORT (lora-merge extract's) the
error of MERGED, and the least that PyTorch's singular values allow at that rank.  Prints "MISSING WORST SAID": how many
modules belong to no tensor that moved, the greatest quotient of both, and the greatest difference of the error from the one that the report says, as
a share of the update.  77: the libraries are not installed.
"""
import json
import sys

try:
    import torch
    from safetensors.torch import load_file
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

PARTS = {
    "unet": "unet/diffusion_pytorch_model", "te1": "text_encoder/model", "te2": "text_encoder_2/model"
}


def weights(folder):
    return {f"{part}.{name}": tensor.double()
            for part, file in PARTS.items()
            for name, tensor in load_file(f"{folder}/{file}.safetensors").items() if tensor.is_floating_point()}


def main():
    base, tuned, merged = (weights(folder) for folder in sys.argv[1:4])
    said = [json.loads(line) for line in open(sys.argv[4], encoding="utf-8")]
    said = [line for line in said if line["event"] == "module"]
    worst, apart = 0.0, 0.0
    for name, before in base.items():
        wanted = tuned[name] - before
        size = float(wanted.norm())
        # names are the adapter's; no two layers moved alike
        line = min(said, key=lambda line: abs(line["update_norm"] - size))
        if wanted.dim() < 2 or abs(line["update_norm"] - size) > 1e-6 * size:
            continue
        said.remove(line)
        lost = float((merged[name] - before - wanted).norm())
        least = float(torch.linalg.svdvals(wanted.flatten(1))[line["rank"]:].norm())
        # 1e-5 of the update: MERGED is rounded to F32
        worst = max(worst, (lost - 1e-5 * size) / least if least > 1e-5 * size else 1)
        apart = max(apart, abs(lost / size - line["relative_error"]))
        if not said:
            break
    print(len(said), f"{worst:.5f}", f"{apart:.2g}")


main()
