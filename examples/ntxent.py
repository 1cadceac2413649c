#!/usr/bin/env python3
"""NT-Xent as a stage in Python: reads z F32 [B,2,d], and answers with dz F32 [B,2,d] and the loss.

simclr_stage.py, in the same folder, reads the requests and writes the answers. Usage:

    project --next 'exec:examples/ntxent.py --temperature 0.5' ...
"""
import sys

sys.dont_write_bytecode = True  # the folder may be everybody's

import numpy as np
import simclr_stage as stage


def ntxent(z, temperature):
    """Returns dz, the loss, the contrastive accuracy and the entropy for z [2B,d].

    Rows 2i and 2i + 1 are the two views of sample i."""
    rows = np.arange(len(z))
    norm = np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    u = z / norm
    s = u @ u.T / temperature
    s[rows, rows] = -np.inf  # a row is not its own candidate
    s -= s.max(axis=1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    p, positive = np.exp(log_p), rows ^ 1
    ds = p.copy()
    ds[rows, positive] -= 1
    du = (ds + ds.T) @ u / (temperature * len(z))
    dz = (du - u * (u * du).sum(axis=1, keepdims=True)) / norm
    log_p[rows, rows] = 0  # p is 0 there, and 0 times infinity would be NaN
    entropy = -(p * log_p).sum(axis=1).mean()
    return dz, -log_p[rows, positive].mean(), (s.argmax(axis=1) == positive).mean(), entropy


def spread(z):
    """Returns z_std and alignment of z [2B,d]: 0 and 0 if all rows have one direction."""
    u = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    z_std = u.std(axis=0).mean() * u.shape[1] ** 0.5
    return z_std, ((u[::2] - u[1::2]) ** 2).sum(axis=1).mean()


def main():
    parser = stage.new_parser(__doc__.splitlines()[0])
    parser.add_argument("--temperature", type=float, default=0.5, help="divides the similarities")
    stage.add_options(parser)
    options = parser.parse_args()

    def answer(tensors, meta):
        """Returns the reply: dz, and the request's metadata (step, ...) with the metrics."""
        z = stage.need(tensors, "z", "F32", (None, 2, None))
        if len(z) < 2:
            raise stage.Unfit("a single image has no negatives")
        rows = z.reshape(-1, z.shape[2]).astype(np.float64)
        dz, loss, accuracy, entropy = ntxent(rows, options.temperature)
        z_std, alignment = spread(rows)
        metrics = {"loss": loss, "contrast_acc": accuracy, "contrast_entropy": entropy}
        metrics |= {"z_std": z_std, "alignment": alignment}
        meta |= {key: stage.digits(value) for key, value in metrics.items()}
        return {"dz": dz.reshape(z.shape).astype("<f4")}, meta

    stage.run(answer, options)


if __name__ == "__main__":
    main()
