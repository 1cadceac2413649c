"""Compares evaluate with scikit-learn, and with nearest neighbours and a bootstrap in numpy.

    evaluate.py ROOT COMMAND ARGUMENTS...
"""

import json
import subprocess
import sys

import numpy as np

root, command, *arguments = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402


def write(path, x, y, name="h", classes=None):
    """Writes class_names only in the first frame, as augment does."""
    with open(path, "wb") as file:
        for at in range(0, len(x), 500):
            meta = {} if classes is None or at else {"class_names": json.dumps(classes)}
            frames.write(file, {name: x[at : at + 500].astype(np.float32), "y": y[at : at + 500]}, **meta)
        frames.write_end(file)


def evaluate(*options, told=None):
    run = ["evaluate", "--bootstrap", "0", *map(str, options)]
    done = subprocess.run(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, text=True)
    if told is not None:
        told[:] = done.stderr.splitlines()
    return json.loads(done.stdout)


def halves(x, y):
    """Returns every second row, after a shuffle."""
    order = np.random.default_rng(2).permutation(len(x))
    x, y = np.asarray(x, np.float32)[order], np.asarray(y, np.int64)[order]
    return x[::2], y[::2], x[1::2], y[1::2]


def data_set(name):
    """Returns training and test rows. The real data sets come with scikit-learn."""
    from sklearn import datasets

    random = np.random.default_rng(4)
    if name in ("iris", "wine", "breast_cancer", "digits"):
        loaded = getattr(datasets, "load_" + name)()
        return halves(loaded.data, loaded.target)
    if name == "wide":  # more features than rows, so any labels can be separated
        x = random.normal(size=(160, 300)) @ (random.normal(size=(300, 300)) / 17)
        x[:, :20] += 2 * random.normal(size=(4, 20))[np.arange(160) % 4]
        return halves(x, np.arange(160) % 4)
    if name == "separable":
        y = random.integers(0, 3, 600)
        return halves(random.normal(size=(600, 5)) + 20 * np.eye(5)[y], y)
    if name == "rare":  # a class of three rows, and a label that does not occur
        y = np.r_[np.zeros(500), np.full(490, 1), np.full(10, 3)].astype(np.int64)
        return halves(random.normal(size=(1000, 8)) + np.eye(8)[y], y)
    raise ValueError(name)


def probe(*names):
    """Accuracy within 0.2 points of scikit-learn's at the same l2, and the confusion matrix with it,
    but for rows that two classes share evenly."""
    from sklearn.linear_model import LogisticRegression

    for name in names:
        x, y, xt, yt = data_set(name)
        write("judged-train.st", x, y)
        write("judged-test.st", xt, yt)
        x, xt = x.astype(np.float64), xt.astype(np.float64)
        std = np.where(x.std(axis=0) > 0, x.std(axis=0), np.inf)
        scaled, scaled_test = (x - x.mean(axis=0)) / std, (xt - x.mean(axis=0)) / std
        classes = int(max(y.max(), yt.max())) + 1
        for l2 in (1e-1, 1e-3):
            ours = evaluate("--train", "judged-train.st", "--test", "judged-test.st", "--l2", l2)
            model = LogisticRegression(
                C=1 / (len(x) * l2), tol=1e-8, max_iter=100000, multi_class="multinomial"
            ).fit(scaled, y)
            score = model.score(scaled_test, yt)
            assert abs(ours["top1"] - score) <= 0.002, (name, l2, ours["top1"], score)
            expected = np.zeros((classes, classes), int)
            np.add.at(expected, (yt, model.predict(scaled_test)), 1)
            sure = np.sort(model.predict_proba(scaled_test), axis=1)
            even = int((sure[:, -1] - sure[:, -2] < 1e-4).sum())
            differ = np.abs(np.array(ours["confusion"]) - expected).sum() // 2
            assert differ <= even, (name, l2, differ, even)
            print(name, l2, score)


def sweep():
    """Checks that the reported trials are the results of separate runs on the held-out rows."""
    for n, width, share in (300, 6, 0.1), (300, 6, 0.25), (1000, 120, 0.25):
        random = np.random.default_rng(6)
        y = random.integers(0, 4, n)
        if n == 300:
            x = random.normal(size=(n, width)) + np.eye(width)[y]
        else:  # classes differ most where features are nearly sums of others: a fit that ends early misses some
            mixed = np.linalg.qr(random.normal(size=(width, width)))[0] * np.geomspace(1, 0.01, width)[:, None]
            x = (random.normal(size=(n, width)) + 2 * np.eye(4, width)[y, ::-1]) @ mixed
        x = x.astype(np.float32)
        write("judged-train.st", x, y)
        found = evaluate("--train", "judged-train.st", "--test", "judged-train.st", "--holdout", share)
        assert [t["l2"] for t in found["l2_sweep"]] == sorted(t["l2"] for t in found["l2_sweep"])
        assert len(found["l2_sweep"]) == 9, found["l2_sweep"]
        best = max(found["l2_sweep"], key=lambda t: (t["accuracy"], t["l2"]))
        assert best["l2"] == found["l2"], (best, found["l2"])
        order = np.argsort(y, kind="stable")
        position = np.arange(n)
        held = np.floor((position + 1) * share) > np.floor(position * share)
        for trial in found["l2_sweep"][::3]:
            accuracy = on_held_out(x, y, order[~held], order[held], trial["l2"])
            assert abs(accuracy - trial["accuracy"]) < 1e-9, (trial, accuracy)


def on_held_out(x, y, kept, held, l2):
    """Standardizes by all rows, as evaluate does while it chooses l2."""
    from sklearn.linear_model import LogisticRegression

    x = x.astype(np.float64)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    model = LogisticRegression(C=1 / (len(kept) * l2), solver="newton-cg", tol=1e-8, max_iter=100000)
    return model.fit(x[kept], y[kept]).score(x[held], y[held])


def neighbours(n, width, k, temperature, kind):
    """Confusion, top-1 and top-5 must be exactly those of all similarities in float64."""
    n, width, k, temperature = int(n), int(width), int(k), float(temperature)
    random = np.random.default_rng(n)
    classes = 9
    if kind == "grid":  # a few values, so many rows and similarities are equal
        x = random.integers(-1, 2, (n + 300, width)).astype(np.float32)
    else:
        x = random.normal(size=(n + 300, width)).astype(np.float32)
        x[n // 2 : n // 2 + 100] = x[:100]  # the same rows under other labels
    x[::50] = 0
    y = random.integers(0, classes, n + 300)
    write("judged-train.st", x[:n], y[:n])
    write("judged-test.st", x[n:], y[n:])
    found = evaluate(
        "--method", "knn", "--k", k, "--temperature", temperature, "--train", "judged-train.st", "--test", "judged-test.st"
    )
    train, test = x[:n].astype(np.float64), x[n:].astype(np.float64)
    norms = np.sqrt((test**2).sum(axis=1))[:, None] * np.sqrt((train**2).sum(axis=1))
    s = np.divide(test @ train.T, norms, out=np.zeros_like(norms), where=norms > 0)
    s = np.round(s, 13)  # sums may be in another order
    nearest = np.argsort(-s, axis=1, kind="stable")[:, :k]
    chosen = np.take_along_axis(s, nearest, axis=1)
    votes = np.zeros((300, classes))
    # Adds the neighbours from the nearest on: the order of the sums matters where votes are equal.
    for j in range(k):
        weight = np.exp((chosen[:, j] - chosen[:, 0]) / temperature)
        votes[np.arange(300), y[nearest[:, j]]] += weight
    order = np.argsort(-votes, axis=1, kind="stable")
    rank = (order == y[n:, None]).argmax(axis=1)
    voted = (y[nearest] == y[n:, None]).any(axis=1)
    rank[~voted] = classes  # a class without a vote cannot be predicted
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (y[n:], order[:, 0]), 1)
    assert (np.array(found["confusion"]) == confusion).all(), np.array(found["confusion"]) - confusion
    assert abs(found["top1"] - (rank == 0).mean()) < 1e-8, (found["top1"], (rank == 0).mean())
    assert abs(found["top5"] - (rank < 5).mean()) < 1e-8, (found["top5"], (rank < 5).mean())


def unvoted():
    """Neither the top 5 nor the intervals may count a class without a vote."""
    x = np.random.default_rng(12).normal(size=(40, 4))
    for train, truth, k, right in ((9, 1, 1, 0), (9, 1, 40, 0), (0, 1, 1, 0), (1, 1, 1, 1)):
        write("judged-train.st", x, np.full(40, train))
        write("judged-test.st", x, np.full(40, truth))
        found = evaluate(
            "--method", "knn", "--k", k, "--train", "judged-train.st", "--test", "judged-test.st", "--bootstrap", 20
        )
        assert [found[key] for key in ("top1", "top5", "top5_low", "top5_high")] == [right] * 4, found
    # The linear probe must not predict a class without training rows.
    write("judged-train.st", x, np.arange(40) % 2)
    write("judged-test.st", x, np.full(40, 2))
    found = evaluate("--l2", 0.1, "--train", "judged-train.st", "--test", "judged-test.st", "--bootstrap", 20)
    assert [found[key] for key in ("top1", "top5", "top5_high")] == [0, 0, 0], found


def named():
    """Labels must be matched by class_names. Counts the nearest neighbours by name in numpy."""
    random = np.random.default_rng(14)
    names = ["Zwiebel", "ü\U0001f415", "a\nb", 'say "x"', "", "東京"] + ["class %d" % i for i in range(2000)]
    for a, b in (([0, 1, 2, 3], [2, 0, 5, 4]), ([7, 3], [3, 7]), (range(1999, 4, -1), [9, 1000, 1, 5])):
        a, b = [names[i] for i in a], [names[i] for i in b]
        union = a + [n for n in b if n not in a]
        x = random.normal(size=(700, 5))
        y, yt = random.integers(0, len(a), 600), random.integers(0, len(b), 100)
        write("judged-train.st", x[:600], y, classes=a)
        write("judged-test.st", x[600:], yt, classes=b)
        told = []
        found = evaluate("--method", "knn", "--k", 1, "--train", "judged-train.st", "--test", "judged-test.st", told=told)
        unit = x.astype(np.float32).astype(np.float64)
        unit /= np.sqrt((unit**2).sum(axis=1))[:, None]
        predicted = [a[i] for i in y[(unit[600:] @ unit[:600].T).argmax(axis=1)]]
        truth = [b[i] for i in yt]
        expected = np.zeros((len(union), len(union)), int)
        for t, q in zip(truth, predicted):
            expected[union.index(t), union.index(q)] += 1
        assert found["class_names"] == union
        assert (np.array(found["confusion"]) == expected).all()
        assert abs(found["top1"] - np.mean([t == q for t, q in zip(truth, predicted)])) < 1e-8
        alone = {n for n in truth} - {a[i] for i in y}
        rows = sum(t in alone for t in truth)
        line = "classes without training rows: %d, whose %d test rows" % (len(alone), rows)
        assert any(line in t for t in told) == bool(alone), (told, line)
        unlearned = {a[i] for i in y} - {n for n in truth}
        assert any("without test rows: %d:" % len(unlearned) in t for t in told) == bool(unlearned), told
        # By their numbers, they are other classes.
        found = evaluate(
            "--method", "knn", "--k", 1, "--match", "numbers", "--train", "judged-train.st", "--test", "judged-test.st"
        )
        assert "class_names" not in found
        same = y[(unit[600:] @ unit[:600].T).argmax(axis=1)] == yt
        assert abs(found["top1"] - same.mean()) < 1e-8
    # The logits of a classifier are in the order of the test data.
    write("judged-logits.st", np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 1, 0]), "logits", ["x", "y", "z"])
    found = evaluate("--method", "classifier", "--test", "judged-logits.st")
    assert found["top1"] == 0.75 and found["class_names"] == ["x", "y", "z"]


def few():
    """In sets too small for the usual k and l2, all rows vote and l2 is 1/n as in scikit-learn."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(15)
    y = np.repeat(np.arange(3), 6)
    x = (random.normal(size=(18, 4)) + np.eye(4)[y]).astype(np.float32)
    write("judged-train.st", x, y)
    write("judged-test.st", x[::2] + 0.1, y[::2])
    both = ("--train", "judged-train.st", "--test", "judged-test.st")
    told = []
    found = evaluate(*both, told=told)
    assert len(told) == 1 and "18 training rows are too few to choose l2" in told[0], told
    assert abs(found["l2"] - 1 / 18) < 1e-9 and found["l2_sweep"] == []
    mean, std = x.astype(float).mean(axis=0), x.astype(float).std(axis=0)
    model = LogisticRegression(tol=1e-8, max_iter=10000).fit((x - mean) / std, y)
    assert abs(model.score(((x[::2] + np.float32(0.1)) - mean) / std, y[::2]) - found["top1"]) < 1e-8
    found = evaluate("--method", "knn", *both, told=told)
    assert found["k"] == 18 and len(told) == 1 and "all 18 training rows vote" in told[0], (found, told)
    explicit = evaluate("--method", "knn", "--k", 18, *both, told=told)
    assert explicit == found and not told
    # A class's only row must never be held out, wherever it is, so each class can be learned.
    # With 10 classes of one row and one of 90, only the 90 rows count for every tenth row in order
    # of class.
    y = np.r_[np.arange(10), np.full(90, 10)]
    x = np.r_[10 * np.eye(10), np.full((90, 10), -3.0) + random.normal(size=(90, 10)) / 9]
    write("judged-train.st", x, y)
    found = evaluate("--train", "judged-train.st", "--test", "judged-train.st", told=told)
    assert not told and len(found["l2_sweep"]) == 9 and all(t["accuracy"] == 1 for t in found["l2_sweep"]), found
    # With eighteen classes of one row and two of two rows, no row can be held out.
    y = np.r_[np.arange(18), 18, 18]
    write("judged-train.st", random.normal(size=(20, 4)), y)
    found = evaluate("--train", "judged-train.st", "--test", "judged-train.st", told=told)
    assert len(told) == 1 and "20 training rows are too few" in told[0] and found["l2"] == 0.05, (told, found["l2"])


def classifier():
    """The rank must count larger logits, and equal ones of lower classes."""
    random = np.random.default_rng(8)
    logits = random.integers(-3, 4, (400, 7)).astype(np.float32)
    y = random.integers(0, 6, 400)  # class 6 does not occur
    own = logits[np.arange(400), y][:, None]
    rank = (logits > own).sum(axis=1) + ((logits == own) & (np.arange(7) < y[:, None])).sum(axis=1)
    confusion = np.zeros((7, 7), int)
    np.add.at(confusion, (y, logits.argmax(axis=1)), 1)
    for shape in ((400, 7), (400, 1, 7)):
        write("judged-logits.st", logits.reshape(shape), y, "logits")
        found = evaluate("--method", "classifier", "--test", "judged-logits.st")
        assert (np.array(found["confusion"]) == confusion).all()
        assert abs(found["top1"] - (rank == 0).mean()) < 1e-8
        assert abs(found["top5"] - (rank < 5).mean()) < 1e-8
        assert found["per_class"][6] is None and found["on"] == "logits" and found["n_test"] == 400
        assert "n_train" not in found and "top1_low" not in found


def intervals():
    """Compares with a bootstrap in numpy, within the error of a few thousand samples."""
    random = np.random.default_rng(10)
    for n, classes, right in ((250, 10, 0.6), (1500, 6, 0.9), (80, 3, 0.3)):
        y = np.minimum(random.geometric(0.4, n) - 1, classes - 1)  # classes of very different sizes
        logits = random.normal(size=(n, classes)).astype(np.float32)
        logits[np.arange(n), y] += np.where(random.random(n) < right, 4, 0)
        write("judged-logits.st", logits, y, "logits")
        rank = (logits > logits[np.arange(n), y][:, None]).sum(axis=1)
        drawn = []
        for _ in range(4000):
            rows = random.integers(0, n, n)
            size = np.bincount(y[rows], minlength=classes)
            hits = np.bincount(y[rows], rank[rows] == 0, minlength=classes)
            top5 = (rank[rows] < 5).mean() if classes >= 5 else 1
            drawn.append(((rank[rows] == 0).mean(), top5, (hits[size > 0] / size[size > 0]).mean()))
        for confidence in (0.95, 0.8):
            options = ("--method", "classifier", "--test", "judged-logits.st", "--confidence", confidence)
            found = evaluate(*options, "--bootstrap", 4000, "--seed", 3)
            low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
            for i, key in enumerate(("top1", "top5", "mean_per_class")):
                got = np.array([found[key + "_low"], found[key + "_high"]])
                # A quantile has an error of about 3 % of the interval here, and scores are
                # multiples of a step.
                most = 0.08 * (high[i] - low[i]) + (1.01 / n if key != "mean_per_class" else 0)
                assert (np.abs(got - [low[i], high[i]]) <= most).all(), (key, n, got, low[i], high[i])
                assert found[key + "_low"] <= found[key] <= found[key + "_high"]


globals()[command](*arguments)
