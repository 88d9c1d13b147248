"""The same as text.c in PyTorch: text_torch.py MODEL 1|2 BATCH RUNS.  Prints seconds a run and the median."""
import statistics
import sys
import time

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection

model, which, batch, runs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
kind, folder = (CLIPTextModel, "text_encoder") if which == "1" else (CLIPTextModelWithProjection, "text_encoder_2")
clip = kind.from_pretrained(model, subfolder=folder, dtype=torch.float32).eval()
c = clip.config
length = c.max_position_embeddings
ids = ((torch.arange(batch * length) * 7919 + 1) % c.vocab_size).reshape(batch, length)
seconds = []
with torch.inference_mode():
    for i in range(runs):
        began = time.monotonic()
        clip(ids, output_hidden_states=True)
        seconds.append(time.monotonic() - began)
        print(f"run {i + 1}: {seconds[-1]:.4f} s", flush=True)
print(f"median {statistics.median(seconds):.4f} s")
