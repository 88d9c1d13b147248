#!/usr/bin/env python3
"""What PEFT's own functions make of whole updates: merge_by_method.py ties|prune DENSITY RESULT FILE:WEIGHT...

RESULT and the files are plain LoRAs under kohya's names.  Prints the Frobenius norm of the difference between RESULT's
updates and those that PEFT merges in double, over that of PEFT's.  77: the libraries are not installed.
"""
import sys
import warnings

try:
    import torch
    from peft.utils.merge_utils import magnitude_prune, ties
    from safetensors.torch import load_file
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)


def updates(path):
    tensors, found = load_file(path), {}
    for name in tensors:
        stem, dot, ending = name.partition(".")
        if ending == "lora_down.weight":
            down, up = tensors[name].double(), tensors[f"{stem}.lora_up.weight"].double()
            scale = float(tensors[f"{stem}.alpha"]) / len(down)
            found[stem] = scale * up.flatten(1) @ down.flatten(1)
    return found


def main():
    method, density, result, *files = sys.argv[1:]
    warnings.filterwarnings("ignore")
    weights = [float(text.rpartition(":")[2]) for text in files]
    adapters = [updates(text.rpartition(":")[0]) for text in files]
    got, error, size = updates(result), 0.0, 0.0
    assert set(got) == set().union(*adapters)
    for stem in got:
        there = [(a[stem], w) for a, w in zip(adapters, weights) if stem in a]
        want = {"ties": ties, "prune": magnitude_prune}[method](
            [update for update, _ in there], torch.tensor([w for _, w in there], dtype=torch.double), float(density)
        )
        error += float((got[stem] - want).square().sum())
        size += float(want.square().sum())
    print(f"{(error / size) ** 0.5:.3g}")


main()
