#!/usr/bin/env python3
"""What diffusers' or PEFT's own loader makes of an adapter: apply_adapter.py diffusers|peft MODEL ADAPTER REFERENCE

MODEL is a diffusers folder.  REFERENCE is a file with a tensor "delta.COMPONENT.LAYER" for each layer that must change,
in double: the change of its weight.  Prints "APPLIED RELATIVE": layers changed, and the Frobenius norm of the difference
over that of the reference.  77: the libraries are not installed.
"""
import sys
import warnings

try:
    import diffusers
    import peft
    import torch
    import transformers
    from safetensors.torch import load_file
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

PARTS = ("unet", "text_encoder", "text_encoder_2")


def weights(pipe):
    """Every layer by component and name; transformers 5 has no text_model in an encoder without a projection."""
    found = {}
    for part in PARTS:
        for name, module in getattr(pipe, part).named_modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, torch.Tensor) and weight.dim() in (2, 4) and "lora" not in name:
                name = name.replace(".base_layer", "").removeprefix("text_model.")
                found[f"{part}.{name}"] = weight
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
    reader, model, adapter, reference = sys.argv[1:]
    warnings.filterwarnings("ignore")
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(model, torch_dtype=torch.float64)
    before = {name: weight.detach().double().clone() for name, weight in weights(pipe).items()}
    {"diffusers": apply_diffusers, "peft": apply_peft}[reader](pipe, adapter)
    for part in PARTS:
        for module in getattr(pipe, part).modules():
            if hasattr(module, "merge") and hasattr(module, "lora_A"):
                module.merge()
    wanted = {}
    for name, delta in load_file(reference).items():
        part, layer = name.removeprefix("delta.").split(".", 1)
        wanted[f"{part}.{layer.removeprefix('text_model.')}"] = delta.double()
    applied, error, size = 0, 0.0, 0.0
    for name, weight in weights(pipe).items():
        change = weight.detach().double() - before[name]
        applied += bool(change.any())
        want = wanted.pop(name, torch.zeros_like(change))
        error += float((change - want.reshape(change.shape)).square().sum())
        size += float(want.square().sum())
    assert not wanted, f"no such layer: {sorted(wanted)[0]}"
    print(applied, f"{(error / size) ** 0.5:.3g}")


main()
