#!/usr/bin/env python3
"""Compares scores that tell pictures unlike the training pictures, on features that the example save_features wrote.

usage: python3 tools/likeness_scores.py TRAIN HELD_OUT OTHER...     (needs NumPy)

Prints for each score the area under the curve (AUROC, %) of held-out against each of the others: 50 is chance, 100 is
always told apart. `HELD_OUT` and `OTHER` may be FILE:LABEL,... for pictures of these labels, or FILE:^LABEL,... for the
others. docs/confidence.md says what the scores are.
"""
import json
import sys

import numpy as np


def load(text):
    """Logits, features and labels of a file, or of some labels of it."""
    path, _, labels = text.partition(":")
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    kinds = {"F32": "<f4", "I64": "<i8"}

    def array(name):
        entry = header[name]
        begin, end = entry["data_offsets"]
        return np.frombuffer(data[begin:end], kinds[entry["dtype"]]).reshape(entry["shape"])

    parts = array("logits").astype(float), array("embedding").astype(float), array("labels")
    if not labels:
        return parts
    chosen = np.isin(parts[2], [int(label) for label in labels.removeprefix("^").split(",")])
    return tuple(part[chosen != labels.startswith("^")] for part in parts)


def auroc(low, high):
    """The probability that one of `high` is above one of `low`, equal ones counting half."""
    _, places, counts = np.unique(np.concatenate([low, high]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places.reshape(-1)]
    return (ranks[len(low):].sum() - len(high) * (len(high) + 1) / 2) / (len(low) * len(high))


def energy(logits):
    most = logits.max(1)
    return -(most + np.log(np.exp(logits - most[:, None]).sum(1)))


def length(features):
    return np.maximum(np.linalg.norm(features, axis=1), 1e-300)


def unit(features):
    return features / length(features)[:, None]


def nearest(means, features):
    squares = (features**2).sum(1)[:, None] - 2 * features @ means.T + (means**2).sum(1)
    return squares.min(1)


def mahalanobis(prepare, train, shape):
    """The distance to the nearest class mean by the covariance around them, or by a part of it."""
    features, labels = prepare(train[1]), train[2]
    classes = np.unique(labels)
    means = np.stack([features[labels == c].mean(0) for c in classes])
    around = features - means[np.searchsorted(classes, labels)]
    (n, d), free = features.shape, len(features) - len(classes)
    covariance = around.T @ around / n
    trace, squares = np.trace(covariance), (covariance**2).sum()
    r = ((1 - 2 / d) * squares + trace**2) / ((free + 1 - 2 / d) * (squares - trace**2 / d))
    r = min(max(r, 1e-6), 1)
    covariance = {"full": covariance, "diagonal": np.diag(np.diag(covariance)),
                  "none": trace / d * np.eye(d)}[shape]
    factor = np.linalg.cholesky((1 - r) * covariance + r * trace / d * np.eye(d))
    white = np.linalg.solve(factor, means.T).T
    return lambda _, x: nearest(white, np.linalg.solve(factor, prepare(x).T).T)


def relative(train):
    """Less the distance to all classes together (Ren et al. 2021)."""
    one = train[0], train[1], np.zeros_like(train[2])
    own, all_ = mahalanobis(lambda x: x, train, "full"), mahalanobis(lambda x: x, one, "full")
    return lambda z, x: own(z, x) - all_(z, x)


def neighbour(train):
    """To the k-th nearest of 5,000 training pictures, at most, of unit length (Sun et al. 2022)."""
    bank = unit(train[1])
    bank = bank[np.arange(min(len(bank), 5000)) * len(bank) // min(len(bank), 5000)]
    k = max(1, len(bank) // 100)
    return lambda _, x: -np.partition(unit(x) @ bank.T, -k, axis=1)[:, -k]


def main(train, held_out, *others):
    same = lambda x: x
    scores = {
        "largest probability": lambda z, _: -z.max(1) - energy(z),
        "largest logit": lambda z, _: -z.max(1),
        "energy": lambda z, _: energy(z),
        "length of the features": lambda _, x: -length(x),
        "Mahalanobis": mahalanobis(same, train, "full"),
        "Mahalanobis, diagonal covariance": mahalanobis(same, train, "diagonal"),
        "relative Mahalanobis": relative(train),
        "unit length, distance to the mean": mahalanobis(unit, train, "none"),
        "unit length, diagonal covariance": mahalanobis(unit, train, "diagonal"),
        "unit length, Mahalanobis": mahalanobis(unit, train, "full"),
        "unit length, nearest neighbours": neighbour(train),
    }
    for name, score in scores.items():
        own = score(*held_out[:2])
        print(f"{name:36}" + "".join(f"{100 * auroc(own, score(*other[:2])):8.1f}" for other in others))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*map(load, sys.argv[1:]))
