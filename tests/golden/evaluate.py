"""Writes evaluate.safetensors: features, and what scikit-learn and numpy make of them.

    /usr/bin/python3 tests/golden/evaluate.py tests/golden/evaluate.safetensors

train [200,12], train_y, test [90,12], test_y: six classes that overlap; class 3 has no training
rows. Features differ in scale and offset, are correlated, and feature 7 is constant. Some training
rows are there twice, under different labels, and one test row is all zeros, so that ties count.

coef_L [5,12], intercept_L [5], probability_L [90,5], predicted_L [90] for L in 1e-1, 1e-3:
scikit-learn's LogisticRegression in float64 on standardized features, C = 1 / (n L), over the five
classes seen.

knn_K_T [90,2]: predicted class, and how many classes come before the true one, with float64
similarities; of equal similarities the lower row comes first, of equal votes the lower class. A true
class without a vote has 2^31 - 1 before it: it is no candidate."""

import os
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import frames  # noqa: E402

CLASSES = 6
random = np.random.default_rng(11)
mixing = random.normal(size=(12, 12))
centers = random.normal(size=(CLASSES, 12)) * 0.7


def draw(n, classes):
    y = random.choice(classes, n)
    x = (centers[y] + random.normal(size=(n, 12))) @ mixing
    x = x * np.logspace(-2, 2, 12) + np.linspace(-5, 5, 12)
    x[:, 7] = 0.1
    return x.astype(np.float32), y.astype(np.int64)


train, train_y = draw(200, [0, 1, 2, 4, 5])
test, test_y = draw(90, range(CLASSES))
train[100:140] = train[:40]
test[89] = 0


def logistic(l2):
    x = train.astype(np.float64)
    mean, std = x.mean(axis=0), x.std(axis=0)
    std[7] = 1
    model = LogisticRegression(
        C=1 / (len(x) * l2), solver="newton-cg", tol=1e-8, max_iter=100000, multi_class="multinomial"
    )
    model.fit((x - mean) / std, train_y)
    standardized = (test.astype(np.float64) - mean) / std
    f32 = np.float32
    return {
        "coef": model.coef_.astype(f32),
        "intercept": model.intercept_.astype(f32),
        "probability": model.predict_proba(standardized).astype(f32),
        "predicted": model.predict(standardized),
    }


def neighbours(k, temperature):
    a, b = test.astype(np.float64), train.astype(np.float64)
    norms = np.sqrt((a * a).sum(axis=1))[:, None] * np.sqrt((b * b).sum(axis=1))
    s = np.array([[(p * q).sum() for q in b] for p in a])
    s = np.round(np.divide(s, norms, out=np.zeros_like(s), where=norms > 0), 12)
    out = np.zeros((len(a), 2), np.int64)
    for i, row in enumerate(s):
        nearest = np.argsort(-row, kind="stable")[:k]
        votes = np.zeros(CLASSES)
        np.add.at(votes, train_y[nearest], np.exp((row[nearest] - row[nearest[0]]) / temperature))
        out[i, 0] = votes.argmax()
        out[i, 1] = list(np.argsort(-votes, kind="stable")).index(test_y[i])
        if test_y[i] not in train_y[nearest]:
            out[i, 1] = 2**31 - 1
    return out


tensors = {"train": train, "train_y": train_y, "test": test, "test_y": test_y}
for l2 in ("1e-1", "1e-3"):
    tensors |= {f"{key}_{l2}": value for key, value in logistic(float(l2)).items()}
for k, temperature in ((1, "0.1"), (20, "0.1"), (200, "0.02")):
    tensors[f"knn_{k}_{temperature}"] = neighbours(k, float(temperature))
with open(sys.argv[1], "wb") as file:
    frames.write(file, tensors, kind="golden")
