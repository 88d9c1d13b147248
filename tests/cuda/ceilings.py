"""ceilings.py KERNELS.TSV - what PyTorch's libraries reach on the shapes that tests/cuda/bench_ops named, in half
precision on the same card: the figures to hold our kernels against, as lines for card.jsonl."""
import json
import sys

import torch
import torch.nn.functional as F

ROUNDS, WARM_UP = 20, 3
HALF = dict(device='cuda', dtype=torch.float16)
torch.backends.cudnn.benchmark = True


def milliseconds(run):
    """The least of some rounds, as bench_ops takes it."""
    for _ in range(WARM_UP):
        run()
    times = []
    for _ in range(ROUNDS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return min(times)


def linear(rows, inputs, outputs):
    x, w, b = torch.randn(rows, inputs, **HALF), torch.randn(outputs, inputs, **HALF), torch.randn(outputs, **HALF)
    return lambda: F.linear(x, w, b)


def linear_dx(rows, inputs, outputs):
    dy, w = torch.randn(rows, outputs, **HALF), torch.randn(outputs, inputs, **HALF)
    return lambda: dy @ w


def picture(rows, channels):
    side = int(rows ** 0.5)
    return torch.randn(1, channels, side, side, **HALF).to(memory_format=torch.channels_last)


def convolution(rows, inputs, outputs):
    x = picture(rows, inputs)
    w = torch.randn(outputs, inputs, 3, 3, **HALF).to(memory_format=torch.channels_last)
    return lambda: F.conv2d(x, w, padding=1)


def convolution_dx(rows, inputs, outputs):
    dy = picture(rows, outputs)
    w = torch.randn(outputs, inputs, 3, 3, **HALF).to(memory_format=torch.channels_last)
    return lambda: torch.nn.grad.conv2d_input((1, inputs, *dy.shape[2:]), w, dy, padding=1)


def attention_inputs(queries, keys, heads):
    return [torch.randn(1, heads, n, 64, **HALF, requires_grad=True) for n in (queries, keys, keys)]


def attention(queries, keys, heads):
    q, k, v = attention_inputs(queries, keys, heads)

    def run():
        with torch.no_grad():
            F.scaled_dot_product_attention(q, k, v)
    return run


def attention_back(queries, keys, heads):
    qkv = attention_inputs(queries, keys, heads)
    out = F.scaled_dot_product_attention(*qkv)
    grad = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, qkv, grad, retain_graph=True)


def group_norm(rows, channels, _):
    x, w = picture(rows, channels), torch.randn(channels, **HALF)
    return lambda: F.silu(F.group_norm(x, 32, w, w))


def layer_norm(rows, channels, _):
    x, w = torch.randn(rows, channels, **HALF), torch.randn(channels, **HALF)
    return lambda: F.layer_norm(x, (channels,), w, w)


def geglu(rows, channels, _):
    x = torch.randn(rows, 2 * channels, **HALF)

    def run():
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)
    return run


def add(rows, channels, _):
    x, y = torch.randn(rows, channels, **HALF), torch.randn(rows, channels, **HALF)
    return lambda: x + y


BESIDE = {
    'linear': linear, 'linear_dx': linear_dx, 'conv 3x3': convolution, 'conv 3x3, dx': convolution_dx,
    'attention': attention, 'attention, back': attention_back, 'group norm + silu': group_norm,
    'layer norm': layer_norm, 'geglu': geglu, 'add': add,
}


def say(name, shape, ms):
    rows, inputs, outputs = shape
    print(json.dumps({'what': 'kernel', 'by': 'PyTorch', 'name': name, 'rows': rows, 'in': inputs, 'out': outputs,
                      'ms': round(ms, 5)}), flush=True)


def main():
    with open(sys.argv[1], encoding='utf-8') as kernels:
        for row in kernels:
            name, *numbers = row.rstrip('\n').split('\t')
            if name in BESIDE:
                shape = [int(n) for n in numbers[:3]]
                say(name, shape, milliseconds(BESIDE[name](*shape)))


main()
