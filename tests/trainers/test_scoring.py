"""The trainings that LRS and ARS need, and how they are kept and resumed."""

import json

import pytest
import torch

import dsetpack
from dsetpack.formats.card import Labels, Recipe
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.trainers import scoring
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.real import RealImages
from dsetpack.trainers.robustness import normalised
from dsetpack.trainers.scoring import Cost, Plan, robustness, soft_labels, with_hard_labels
from tests.support.score_cases import AUGMENT, RECIPE, data, pack


class Trainer:
    """Replaces training: records what is asked for, and answers with a function of it."""

    def __init__(self, monkeypatch, answer):
        self.asked, self.real, self.answer = [], 0, answer
        monkeypatch.setattr(scoring, "accuracies", self.accuracies)
        monkeypatch.setattr(scoring, "train", self.train)
        monkeypatch.setattr(scoring, "accuracy", lambda *_: 0.9)

    def accuracies(self, pack, test, *, seeds, recipe, augmentation, device):
        self.asked.append((pack, recipe, augmentation, *seeds))
        return [self.answer(pack, recipe, augmentation, *seeds)]

    def train(self, model, images, *, recipe, augmentation, seed, device):
        assert isinstance(images, RealImages)
        assert augmentation is None
        self.real += 1


def lead(pack, recipe, augmentation, seed):
    """The pack gets 0.7, random images 0.5 (less if the rate is not 0.05); 0.1 less unaugmented; 0.01 per seed."""
    base = 0.7 if pack.card.title == "mine" else 0.5 - abs(recipe.lr - 0.05)
    return base - 0.1 * (augmentation is None) + 0.01 * seed


def test_a_hard_pack_takes_its_own_accuracy_as_hard(monkeypatch):
    trainer = Trainer(monkeypatch, lead)
    costs = []
    found = robustness(
        pack(augmentation=AUGMENT), data(), data(seed=2), 3, Plan(2, rates=(0.01, 0.05)), say=costs.append
    )
    assert costs == [Cost(16, 8, 2, 10)]
    assert (len(trainer.asked), trainer.real) == (16, 2)
    assert found["syn-hard"] is found["syn-any"]
    assert found["syn-any"].accuracies == pytest.approx((0.7, 0.71))
    assert (found["syn-any"].lr, found["rdm-any"].lr, found["rdm-naug"].lr) == (0.02, 0.05, 0.05)
    assert found["rdm-any"].accuracies == pytest.approx((0.5, 0.51))
    assert found["rdm-naug"].accuracies == pytest.approx((0.4, 0.41))
    assert found.hlr == pytest.approx((0.2, 0.19))
    assert found.ior == pytest.approx((0.2, 0.2))
    assert found.ars == pytest.approx((normalised(0.2),) * 2)
    assert {recipe.lr for made, recipe, *_ in trainer.asked if made.card.title != "mine"} == {0.01, 0.02, 0.05}
    assert {len(made) for made, *_ in trainer.asked if made.card.title != "mine"} == {6}


def test_random_sets_differ_by_seed_and_stay_with_it(monkeypatch):
    trainer = Trainer(monkeypatch, lead)
    robustness(pack(), data(), data(seed=2), 3, Plan(2, rates=(0.01,)))
    sets = {}
    for made, _, _, seed in trainer.asked:
        if made.card.title != "mine":
            sets.setdefault(seed, []).append(made.decode(range(6))[0])
    assert all(torch.equal(first, second) for first, second in sets.values())
    assert not torch.equal(sets[0][0], sets[1][0])


def test_without_augmentation_nothing_is_measured_twice(monkeypatch):
    trainer = Trainer(monkeypatch, lead)
    found = robustness(pack(), data(), data(seed=2), 1, Plan(1, rates=()))
    assert len(trainer.asked) == 2
    assert found["syn-naug"] is found["syn-any"]
    assert found["rdm-naug"] is found["rdm-any"]
    assert found.ars == pytest.approx((normalised(found.ior[0]),))


def test_cutmix_counts_as_augmentation(monkeypatch):
    trainer = Trainer(monkeypatch, lead)
    mixed = RECIPE.model_copy(update={"cutmix": 1.0})
    robustness(pack(recipe=mixed), data(), data(seed=2), 1, Plan(1, rates=()))
    assert [(recipe.cutmix, augmentation) for _, recipe, augmentation, _ in trainer.asked] == [
        (1.0, None),
        (1.0, None),
        (0.0, None),
        (0.0, None),
    ]


def test_a_soft_pack_is_measured_with_hard_labels_and_random_images_with_a_teachers(monkeypatch):
    trainer = Trainer(monkeypatch, lead)
    soft = pack(soft=True, recipe=RECIPE.model_copy(update={"loss": "mse"}), augmentation=AUGMENT)
    costs = []
    found = robustness(soft, data(), data(seed=2), 2, Plan(1, rates=(0.05,)), say=costs.append)
    assert costs == [Cost(1 + 2 + 2 + 1 + 2, 8, 1, 10)]
    assert (len(trainer.asked), trainer.real) == (8, 1)
    hard = [(made, recipe) for made, recipe, *_ in trainer.asked if made.card.labels.kind == "hard"]
    assert {(made.card.title, recipe.loss) for made, recipe in hard} == {("mine", "cross_entropy")}
    assert {recipe.lr for _, recipe in hard} == {0.02, 0.05}
    for made, *_ in trainer.asked:
        if made.card.title != "mine":
            assert torch.allclose(made.labels.sum(1), torch.ones(4))
    assert "syn-hard" in found.parts
    assert found.label_gain == pytest.approx((0.0,))


def test_centred_labels_stay_centred(monkeypatch):
    """FRePo and ISA have such labels: regression targets that sum to zero."""
    trainer = Trainer(monkeypatch, lead)
    real = data(8, seed=1)
    made = dsetpack.Pack.from_arrays(
        real.images,
        torch.eye(2)[real.labels] - 0.5,
        classes=real.classes,
        recipe=RECIPE.model_copy(update={"loss": "mse"}),
        title="mine",
    ).replace_card(labels=Labels(kind="soft", centred=True))
    robustness(made, data(), data(seed=2), 2, Plan(1, rates=()))
    random = [asked for asked, *_ in trainer.asked if asked.card.title != "mine"]
    assert random
    for asked in random:
        assert torch.allclose(asked.labels.sum(1), torch.zeros(4), atol=1e-6)


def test_a_rate_that_breaks_training_is_not_the_best(monkeypatch):
    def answer(pack, recipe, augmentation, seed):
        if recipe.lr > 0.04:
            raise DsetpackError("the loss became nan")
        return lead(pack, recipe, augmentation, seed)

    Trainer(monkeypatch, answer)
    found = robustness(pack(), data(), data(seed=2), 1, Plan(2, rates=(0.01, 0.05)))
    assert found["rdm-any"].lr == 0.02


def test_results_are_kept_and_gone_on_with(monkeypatch, tmp_path):
    path = tmp_path / "found.json"

    def stops(pack, recipe, augmentation, seed):
        if pack.card.title != "mine" and recipe.lr == 0.05:
            raise KeyboardInterrupt
        return lead(pack, recipe, augmentation, seed)

    Trainer(monkeypatch, stops)
    arguments = (pack(), data(), data(seed=2), 1, Plan(1, rates=(0.01, 0.05)))
    with pytest.raises(KeyboardInterrupt):
        robustness(*arguments, results=path)
    assert len(json.loads(path.read_text())["accuracies"]) == 4
    again = Trainer(monkeypatch, lead)
    costs = []
    found = robustness(*arguments, results=path, say=costs.append)
    assert (len(again.asked), again.real, costs[0].trainings, costs[0].real) == (1, 0, 1, 0)
    assert found == robustness(*arguments)


def test_too_few_real_images_are_refused_before_anything_is_trained(monkeypatch):
    trainer = Trainer(monkeypatch, lead)
    most = int(torch.bincount(data().labels).min())
    with pytest.raises(FormatError, match=f"has {most} images of class .*; {most + 1} asked for"):
        robustness(pack(), data(), data(seed=2), most + 1, Plan(1, rates=()))
    assert (len(trainer.asked), trainer.real) == (0, 0)


def test_results_of_another_measurement_are_refused(monkeypatch, tmp_path):
    path = tmp_path / "found.json"
    Trainer(monkeypatch, lead)
    robustness(pack(), data(), data(seed=2), 1, Plan(1, rates=()), results=path)
    with pytest.raises(FormatError, match=r"found.json: .* of another measurement: per_class is 1, here 2"):
        robustness(pack(), data(), data(seed=2), 2, Plan(1, rates=()), results=path)
    path.write_text("[]")
    with pytest.raises(FormatError, match="not a file of measured accuracies"):
        robustness(pack(), data(), data(seed=2), 1, Plan(1, rates=()), results=path)


def test_epochs_become_steps(monkeypatch):
    """8 images in batches of 3 are 3 steps per epoch; one random image per class trains as long."""
    trainer = Trainer(monkeypatch, lead)
    by_epochs = Recipe(epochs=5, batch_size=3, lr=0.02, width=4)
    found = robustness(pack(recipe=by_epochs), data(), data(seed=2), 1, Plan(1, rates=()))
    assert found.steps == 15
    assert {(recipe.steps, recipe.epochs) for _, recipe, *_ in trainer.asked} == {(15, None)}


def test_refusals():
    with pytest.raises(FormatError, match="'mine' has no recipe in its card"):
        robustness(pack(recipe=None), data(), data(seed=2), 1)
    with pytest.raises(FormatError, match=r"noise has images of \[1, 9, 9\]; the pack makes \[1, 8, 8\]"):
        robustness(pack(), data(shape=(1, 9, 9)), data(seed=2), 1)
    three = ImageData(data().images, data().labels, ("a", "b", "c"), "three")
    with pytest.raises(FormatError, match="three has 3 classes; the pack has 2"):
        robustness(pack(), data(), three, 1)
    for fields, message in (({"seeds": 0}, "seeds is 0"), ({"steps": -1}, "steps is -1"), ({"rates": (0.0,)}, "rates")):
        with pytest.raises(FormatError, match=message):
            Plan(**fields)


def test_hard_labels_are_the_largest_entries():
    soft = pack(soft=True)
    hard = with_hard_labels(soft)
    assert hard.card.labels.kind == "hard"
    assert torch.equal(hard.labels, soft.labels.argmax(1))
    assert torch.equal(hard.decode([3, 5])[0], soft.decode([3, 5])[0])
    same = pack()
    assert with_hard_labels(same) is same


def test_soft_labels_are_probabilities_or_centred():
    teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))
    x = torch.randn(7, 1, 8, 8)
    plain = soft_labels(teacher, x, centred=False)
    assert torch.allclose(plain, torch.softmax(teacher(x), 1))
    assert not plain.requires_grad
    assert torch.allclose(soft_labels(teacher, x, centred=True).sum(1), torch.zeros(7), atol=1e-6)
