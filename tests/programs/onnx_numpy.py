"""Reads ONNX models and computes their outputs in float64 with numpy, by the specification of the
operators (https://github.com/onnx/onnx/blob/main/docs/Operators.md) alone.

    graph = onnx_numpy.load("model.onnx")
    outputs = onnx_numpy.run(graph, images)    # a dictionary

It needs no onnx package. The wire format is that of protocol buffers, the numbers of fields are
those of onnx.proto."""

import itertools
import struct

import numpy as np


def fields(data):
    """The fields of a message: (number, value), where a value is an integer or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value - (1 << 64) if value >> 63 else value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            if at + size > len(data):
                raise ValueError("a field ends beyond its message")
            yield key >> 3, bytes(data[at:at + size])
            at += size


def one(message, number, default=None):
    found = [value for n, value in fields(message) if n == number]
    assert len(found) <= 1, (number, found)
    return found[0] if found else default


def every(message, number):
    return [value for n, value in fields(message) if n == number]


def tensor(message):
    assert one(message, 2) == 1  # FLOAT
    values = np.frombuffer(one(message, 9, b""), "<f4").reshape(every(message, 1))
    return one(message, 8).decode(), values.astype(np.float64)


def attribute(message):
    kind = one(message, 20)
    value = {1: lambda: struct.unpack("<f", one(message, 2))[0],
             2: lambda: one(message, 3),
             7: lambda: every(message, 8)}[kind]()
    return one(message, 1).decode(), value


def value_info(message):
    """The name and the dimensions of an input or output; a name stands for any number."""
    dims = every(one(one(one(message, 2), 1), 2), 1)
    assert one(one(one(message, 2), 1), 1) == 1
    return one(message, 1).decode(), [one(d, 2).decode() if one(d, 2) else one(d, 1) for d in dims]


def load(path):
    with open(path, "rb") as file:
        model = file.read()
    graph = one(model, 7)
    return {
        "ir_version": one(model, 1),
        "producer": (one(model, 2).decode(), one(model, 3).decode()),
        "opsets": [(one(m, 1, b""), one(m, 2)) for m in every(model, 8)],
        "metadata": {one(m, 1).decode(): one(m, 2).decode() for m in every(model, 14)},
        "inputs": dict(map(value_info, every(graph, 11))),
        "outputs": dict(map(value_info, every(graph, 12))),
        "tensors": dict(map(tensor, every(graph, 5))),
        "nodes": [(one(n, 4).decode(), [x.decode() for x in every(n, 1)],
                   [x.decode() for x in every(n, 2)], dict(map(attribute, every(n, 5))))
                  for n in every(graph, 1)],
    }


def windows(x, kernel, strides, pads, fill):
    """The windows of x (N, C, ...) as (N, C, out..., kernel...)."""
    dims = len(kernel)
    around = [(0, 0), (0, 0)] + [(pads[i], pads[dims + i]) for i in range(dims)]
    x = np.pad(x, around, constant_values=fill)
    x = np.lib.stride_tricks.sliding_window_view(x, kernel, tuple(range(2, 2 + dims)))
    return x[(slice(None), slice(None)) + tuple(slice(None, None, s) for s in strides)]


def convolve(x, w, b=None, kernel_shape=None, strides=None, pads=None):
    assert list(w.shape[2:]) == kernel_shape
    k = len(kernel_shape)
    seen = windows(x, kernel_shape, strides, pads, 0)
    inside = tuple(range(2 + k, 2 + 2 * k))
    y = np.tensordot(seen, w, axes=((1,) + inside, (1,) + tuple(range(2, 2 + k))))
    return np.moveaxis(y, -1, 1) + (0 if b is None else b.reshape((-1,) + (1,) * k))


def normalize(x, scale, b, mean, var, epsilon):
    scale, b, mean, var = (v.reshape((-1,) + (1,) * (x.ndim - 2)) for v in (scale, b, mean, var))
    return (x - mean) / np.sqrt(var + epsilon) * scale + b


def mean_of_windows(x, kernel_shape, strides, pads, count_include_pad):
    assert count_include_pad == 1
    y = windows(x, kernel_shape, strides, pads, 0)
    return y.mean(axis=tuple(range(-len(kernel_shape), 0)))


def largest_of_windows(x, kernel_shape, strides, pads):
    y = windows(x, kernel_shape, strides, pads, -np.inf)
    return y.max(axis=tuple(range(-len(kernel_shape), 0)))


OPERATORS = {
    "Conv": convolve,
    "Gemm": lambda a, b, c=0, transB=0: a @ (b.T if transB else b) + c,
    "BatchNormalization": normalize,
    "MaxPool": largest_of_windows,
    "AveragePool": mean_of_windows,
    "GlobalAveragePool": lambda x: x.mean(axis=tuple(range(2, x.ndim)), keepdims=True),
    "Flatten": lambda x: x.reshape(len(x), -1),
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Identity": lambda x: x,
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
    "Split": lambda x, axis: np.split(x, 2, axis),
}


def run(graph, x):
    (name, shape), = graph["inputs"].items()
    assert all(isinstance(a, str) or a == b for a, b in zip(shape, x.shape)), (shape, x.shape)
    values = {**graph["tensors"], name: x.astype(np.float64)}
    for op, inputs, outputs, attributes in graph["nodes"]:
        results = OPERATORS[op](*(values[i] for i in inputs), **attributes)
        results = results if isinstance(results, list) else [results]
        for output, result in itertools.zip_longest(outputs, results):
            assert output and output not in values, output
            values[output] = result
    unused = set(graph["tensors"]) - {i for n in graph["nodes"] for i in n[1]}
    assert not unused, unused
    return {output: values[output] for output in graph["outputs"]}
