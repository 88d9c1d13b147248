#!/usr/bin/env python3
"""What diffusers' or PEFT's own loader makes of an adapter: apply_adapter.py diffusers|peft MODEL ADAPTER MERGED

MODEL and MERGED are diffusers folders: the model before, and with the adapter in its weights.  Prints "APPLIED RELATIVE":
how many layers the loader changed, and the Frobenius norm of what they differ by from MERGED over that of the change.
77: the libraries are not installed.
"""
import sys
import warnings

try:
    import diffusers
    import peft
    import torch
    import transformers
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

PARTS = ("unet", "text_encoder", "text_encoder_2")


def weights(pipe):
    """Every layer by component and name."""
    found = {}
    for part in PARTS:
        for name, module in getattr(pipe, part).named_modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, torch.Tensor) and weight.dim() in (2, 4) and "lora" not in name:
                found[f"{part}.{name.replace('.base_layer', '')}"] = weight
    return found


def apply_diffusers(pipe, adapter):
    pipe.load_lora_weights(adapter)


def apply_peft(pipe, adapter):
    """An adapter of a UNet alone, or of a pipeline whose models are its members."""
    whole = torch.nn.ModuleDict({part: getattr(pipe, part) for part in PARTS})
    names = peft.PeftConfig.from_pretrained(adapter).target_modules
    model = whole if any(name.split(".")[0] in PARTS for name in names) else pipe.unet
    peft.PeftModel.from_pretrained(model, adapter)


def main():
    reader, model, adapter, merged = sys.argv[1:]
    warnings.filterwarnings("ignore")
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    load = diffusers.StableDiffusionXLPipeline.from_pretrained
    pipe = load(model, torch_dtype=torch.float64)
    wanted = weights(load(merged, torch_dtype=torch.float64))
    before = {name: weight.detach().clone() for name, weight in weights(pipe).items()}
    {"diffusers": apply_diffusers, "peft": apply_peft}[reader](pipe, adapter)
    for part in PARTS:
        for module in getattr(pipe, part).modules():
            if hasattr(module, "merge") and hasattr(module, "lora_A"):
                module.merge()
    applied, error, size = 0, 0.0, 0.0
    for name, weight in weights(pipe).items():
        applied += bool((weight != before[name]).any())
        error += float((weight - wanted[name]).square().sum())
        size += float((wanted[name] - before[name]).square().sum())
    print(applied, f"{(error / size) ** 0.5:.3g}")


main()
