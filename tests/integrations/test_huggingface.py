"""The losses in the Trainer of transformers, on a tiny model built from a config: no tokenizer, no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

transformers = pytest.importorskip("transformers", exc_type=ImportError)
pytest.importorskip("accelerate", exc_type=ImportError)

import gence  # noqa: E402
from gence import InputError  # noqa: E402
from gence.integrations.huggingface import ExactAccumulation, TrainerLoss  # noqa: E402
from gence.losses import catalogue  # noqa: E402
from two_processes import start, take_part, what_went_wrong  # noqa: E402

ROWS, LENGTH, CLASSES = 32, 6, 3
COUNTS = [14, 10, 8]
NOT_USABLE = ("adafocal", "cals", "crl", "ldam")
USABLE = [name for name in catalogue.names() if name not in NOT_USABLE]


class ExactTrainer(ExactAccumulation, transformers.Trainer):
    pass


def rows(kind: str = "sequence") -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(100, (ROWS, LENGTH), generator=generator)
    if kind == "sequence":
        labels = torch.randint(CLASSES, (ROWS,), generator=generator)
    else:
        labels = torch.randint(CLASSES, (ROWS, LENGTH), generator=generator)
        labels[torch.rand(ROWS, LENGTH, generator=generator) < 0.3] = -100
    return [{"input_ids": i, "labels": y} for i, y in zip(ids, labels, strict=True)]


def model(kind: str = "sequence", dropout: float = 0.0) -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LENGTH,
        num_labels=CLASSES,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    of_kind = {
        "sequence": transformers.BertForSequenceClassification,
        "token": transformers.BertForTokenClassification,
    }
    return of_kind[kind](config).double()


def trained(
    folder: Path,
    loss: TrainerLoss | None,
    split: tuple[int, int] = (16, 1),
    kind: str = "sequence",
    dropout: float = 0.0,
    trainer_class: Any = transformers.Trainer,
    resume: Path | None = None,
    **arguments: Any,
) -> Any:
    """A trainer after 4 steps of 16 rows, in `split[1]` micro-batches of `split[0]` rows."""
    settings = {
        "output_dir": str(folder),
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "per_device_train_batch_size": split[0],
        "gradient_accumulation_steps": split[1],
        "max_steps": 4,
        "learning_rate": 0.1,
        "max_grad_norm": 0.0,  # clipping would hide a wrong scale
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "logging_steps": 1,
        "dataloader_pin_memory": False,
        **arguments,
    }
    data = rows(kind)
    trainer = trainer_class(
        model=model(kind, dropout),
        args=transformers.TrainingArguments(**settings),
        train_dataset=data,
        eval_dataset=data[:10],
        compute_loss_func=loss,
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return trainer


def weights(trainer: Any) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


def furthest(one: Any, other: Any) -> float:
    return max((a - b).abs().max().item() for a, b in zip(weights(one), weights(other), strict=True))


def losses_of(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("kind", ["sequence", "token"])
def test_cross_entropy_is_the_trainers_own_loss(kind: str, tmp_path: Path) -> None:
    own = trained(tmp_path, None, (16, 1), kind, per_device_eval_batch_size=10)
    # In micro-batches the own loss of a BERT head is no reference: transformers 5.23 does not divide it.
    for split in ((16, 1), (4, 4)):
        ours = trained(tmp_path, TrainerLoss("ce"), split, kind, per_device_eval_batch_size=10)
        assert_close(weights(ours), weights(own), rtol=0.0, atol=1e-12)
        assert losses_of(ours) == pytest.approx(losses_of(own), abs=1e-6)  # Trainer logs them in float32
        assert ours.evaluate()["eval_loss"] == pytest.approx(own.evaluate()["eval_loss"], abs=1e-12)


@pytest.mark.parametrize("kind", ["sequence", "token"])
@pytest.mark.parametrize(
    "loss",
    [
        {"loss": "gence"},
        {"loss": "gence", "weight": torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)},
        {"loss": "gence_smoothing", "smoothing": 0.2},
        {"loss": "gence_prior", "class_counts": COUNTS},
    ],
    ids=["gence", "weighted", "smoothing", "prior"],
)
def test_micro_batches_make_the_step_of_the_whole_batch(loss: dict[str, Any], kind: str, tmp_path: Path) -> None:
    whole = trained(tmp_path, TrainerLoss(**loss), (16, 1), kind)
    parts = trained(tmp_path, TrainerLoss(**loss), (4, 4), kind, trainer_class=ExactTrainer)
    assert_close(weights(parts), weights(whole), rtol=0.0, atol=1e-10)
    assert losses_of(parts) == pytest.approx(losses_of(whole), abs=1e-6)
    assert parts.compute_loss_func.total is None


def test_without_the_mixin_micro_batches_make_another_step(tmp_path: Path) -> None:
    """What the test above compares can differ."""
    whole = trained(tmp_path, TrainerLoss("gence"))
    parts = trained(tmp_path, TrainerLoss("gence"), (4, 4))
    assert furthest(whole, parts) > 1e-3


def test_a_last_step_of_fewer_micro_batches_is_exact_too(tmp_path: Path) -> None:
    whole = trained(tmp_path, TrainerLoss("gence"), (24, 1))  # 24 and 8 rows an epoch
    parts = trained(tmp_path, TrainerLoss("gence"), (4, 6), trainer_class=ExactTrainer)
    assert_close(weights(parts), weights(whole), rtol=0.0, atol=1e-10)


def test_dropout_draws_the_same_masks_in_both_passes(tmp_path: Path) -> None:
    """The logits that the class mass was taken of are those that are trained on, to the bit, also after `evaluate`."""
    seen: list[tuple[str, Tensor]] = []

    class Watched(ExactTrainer):
        def _class_mass_of_step(self, *args: Any, **kwargs: Any) -> Any:
            hook = self.model.register_forward_hook(
                lambda module, inputs, outputs: seen.append(("mass", outputs["logits"].detach()))
            )
            found = super()._class_mass_of_step(*args, **kwargs)
            hook.remove()
            return found

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            hook = self.model.register_forward_hook(
                lambda module, inputs, outputs: seen.append(("step", outputs["logits"].detach()))
            )
            found = super().compute_loss(model, inputs, *args, **kwargs)
            hook.remove()
            return found

    trainer = trained(
        tmp_path, TrainerLoss("gence"), (4, 4), dropout=0.5, trainer_class=Watched, eval_strategy="steps", eval_steps=1
    )
    assert trainer.state.global_step == 4
    mass = [logits for kind, logits in seen if kind == "mass"]
    steps = [logits for kind, logits in seen if kind == "step" and len(logits) == 4]
    assert len(mass) == len(steps) == 16
    assert all(torch.equal(one, other) for one, other in zip(mass, steps, strict=True))
    assert not torch.equal(mass[0], mass[8])


def test_a_run_that_resumes_in_an_epoch_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    """Trainer brings the random generators back when the batches of the first step are there already."""
    settings: dict[str, Any] = {"dropout": 0.5, "trainer_class": ExactTrainer, "max_steps": 2}
    settings |= {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}
    whole = trained(tmp_path, TrainerLoss("gence"), (4, 4), **settings)
    again = trained(tmp_path, TrainerLoss("gence"), (4, 4), **settings, resume=tmp_path / "checkpoint-1")
    assert furthest(whole, again) == 0.0


def test_the_pass_leaves_the_random_generator_as_it_was(tmp_path: Path) -> None:
    """With a loss that does not look at the class mass, dropout and all, the mixin changes nothing."""
    plain = trained(tmp_path, TrainerLoss("gence"), (16, 1), dropout=0.5)
    mixed = trained(tmp_path, TrainerLoss("gence"), (16, 1), dropout=0.5, trainer_class=ExactTrainer)
    assert furthest(plain, mixed) == 0.0
    plain = trained(tmp_path, TrainerLoss("gence", strength=1e-300), (4, 4), dropout=0.5)
    mixed = trained(tmp_path, TrainerLoss("gence", strength=1e-300), (4, 4), dropout=0.5, trainer_class=ExactTrainer)
    assert furthest(plain, mixed) < 1e-12


@pytest.mark.parametrize(
    ("loss", "split", "passes"),
    [("gence", (16, 1), 1), ("ce", (4, 4), 4), ("gence_moving", (4, 4), 4), ("gence", (4, 4), 8)],
)
def test_the_extra_pass_is_made_only_where_it_is_needed(
    loss: str, split: tuple[int, int], passes: int, tmp_path: Path
) -> None:
    calls: list[int] = []

    class Counted(ExactTrainer):
        def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
            self.model.register_forward_hook(lambda *_: calls.append(1))
            return super().create_optimizer(*args, **kwargs)

    trained(tmp_path, TrainerLoss(loss, num_classes=CLASSES), split, trainer_class=Counted, max_steps=1)
    assert len(calls) == passes


@pytest.mark.parametrize("name", USABLE)
def test_every_loss_gives_its_own_value_and_its_part_of_the_whole(name: str) -> None:
    given = {"num_classes": CLASSES, "class_counts": COUNTS}
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, CLASSES, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.randint(CLASSES, (4, 5), generator=generator)
    labels[0, :3] = -100
    compute_loss = TrainerLoss(name, **given)
    value = compute_loss({"logits": logits}, labels)
    gradient = torch.autograd.grad(value, logits)[0]
    built = catalogue.build(name, **given)
    expected = built(logits.flatten(0, 1), labels.flatten())
    assert_close(value, expected)
    assert_close(gradient, torch.autograd.grad(expected, logits)[0])
    assert gradient[0, :3].abs().max() == 0.0
    part = TrainerLoss(name, **given)((logits,), labels, torch.tensor(170))
    assert_close(part, expected * 17 / 170)
    with torch.no_grad():
        mean = compute_loss({"logits": logits}, labels)
    assert_close(mean, F.cross_entropy(logits.flatten(0, 1), labels.flatten()))


def test_labels_that_are_ignored_count_for_nothing(tmp_path: Path) -> None:
    compute_loss = TrainerLoss("gence")
    logits = torch.randn(6, CLASSES, requires_grad=True)
    labels = torch.tensor([0, -100, 1, 2, -100, 0])
    assert_close(
        compute_loss({"logits": logits}, labels),
        gence.generative_cross_entropy(logits[labels >= 0], labels[labels >= 0]),
    )
    none_count = compute_loss({"logits": logits}, torch.full((6,), -100), 12)
    assert none_count.item() == 0.0
    assert torch.autograd.grad(none_count, logits)[0].abs().max() == 0.0


def test_a_number_a_replica_is_added_up() -> None:
    """Under DataParallel, Trainer gives each replica's share of the count and multiplies by their number."""
    logits, labels = torch.randn(6, CLASSES, requires_grad=True), torch.tensor([0, 1, 2, 0, 1, 2])
    compute_loss = TrainerLoss("ce")
    assert_close(compute_loss({"logits": logits}, labels, torch.tensor([[6], [6]])), compute_loss(logits, labels) / 2)


def test_evaluation_moves_no_state(tmp_path: Path) -> None:
    moving = gence.MovingClassMass(CLASSES).double()
    trainer = trained(tmp_path, TrainerLoss(gence.GenCELoss(class_mass=moving)))
    before = {name: buffer.clone() for name, buffer in moving.named_buffers()}
    assert before["batches"].item() == 4
    assert trainer.evaluate()["eval_loss"] > 0.0
    assert_close(dict(moving.named_buffers()), before, rtol=0.0, atol=0.0)


def test_shifted_labels_are_those_of_the_next_position() -> None:
    logits = torch.randn(2, 5, CLASSES, requires_grad=True)
    labels = torch.randint(CLASSES, (2, 5))
    labels[1, 2] = -100
    expected = F.cross_entropy(logits[:, :-1].reshape(-1, CLASSES), labels[:, 1:].reshape(-1))
    assert_close(TrainerLoss("ce", shift=True)({"logits": logits}, labels), expected)


@pytest.mark.parametrize("loss", ["ce", "gence"])
def test_a_causal_language_model_is_trained_as_by_its_own_loss(loss: str, tmp_path: Path) -> None:
    def run(compute_loss: TrainerLoss | None, split: tuple[int, int], trainer_class: Any) -> Any:
        torch.manual_seed(0)
        config = transformers.GPT2Config(
            vocab_size=8, n_positions=LENGTH, n_embd=16, n_layer=1, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0,
            attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        ids = torch.randint(8, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
        settings = transformers.TrainingArguments(
            output_dir=str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True, max_steps=2, optim="sgd",
            learning_rate=0.1, per_device_train_batch_size=split[0], gradient_accumulation_steps=split[1],
            save_strategy="no", dataloader_pin_memory=False, max_grad_norm=0.0,
        )  # fmt: skip
        trainer = trainer_class(
            model=transformers.GPT2LMHeadModel(config).double(),
            args=settings,
            train_dataset=[{"input_ids": row, "labels": row} for row in ids],
            compute_loss_func=compute_loss,
        )
        trainer.train()
        return trainer

    ours = run(TrainerLoss(loss, shift=True), (4, 4), ExactTrainer)
    if loss == "ce":
        other = run(None, (4, 4), transformers.Trainer)
    else:
        other = run(TrainerLoss(loss, shift=True), (16, 1), transformers.Trainer)
    # The model's own loss is taken in float32.
    assert_close(weights(ours), weights(other), rtol=0.0, atol=1e-6 if loss == "ce" else 1e-10)


def test_half_precision_is_computed_in_float32() -> None:
    logits, labels = torch.randn(64, CLASSES).bfloat16().requires_grad_(), torch.randint(CLASSES, (64,))
    value = TrainerLoss("ce")({"logits": logits}, labels)
    assert value.dtype == torch.float32
    assert_close(value, F.cross_entropy(logits.float(), labels))


def test_the_module_that_is_given_stays_as_it_is() -> None:
    module = gence.GenCELoss(label_smoothing=0.1)
    logits, labels = torch.randn(6, CLASSES, requires_grad=True), torch.tensor([0, 1, 2, 0, 1, 2])
    assert_close(TrainerLoss(module)({"logits": logits}, labels), module(logits, labels))
    assert module.reduction == "mean"
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.1)
    assert_close(TrainerLoss(smoothed)({"logits": logits}, labels), smoothed(logits, labels))


@pytest.mark.parametrize("name", NOT_USABLE)
def test_losses_that_want_more_than_batches_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"loss {name} wants to be told of epochs, rows or validation rows"):
        TrainerLoss(name, num_classes=CLASSES, class_counts=COUNTS)


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    logits = torch.zeros(4, CLASSES, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    compute_loss = TrainerLoss("gence")
    for message, outputs, target in (
        (r'"logits" .* got keys start_logits: use a model', {"start_logits": logits}, labels),
        ("got NoneType", None, labels),
        (r'got None: the data set must have a column "labels"', {"logits": logits}, None),
        ("heads for regression and multi-label", {"logits": logits}, torch.zeros(4, CLASSES)),
        ("2 classes or more; got shape", {"logits": logits[:, :1]}, labels),
        (r"without their last axis, \(4,\); got \(3,\)", {"logits": logits}, labels[:3]),
    ):
        with pytest.raises(InputError, match=message):
            compute_loss(outputs, target)
    for message, loss, settings in (
        ("unknown loss 'genc': did you mean 'gence'", "genc", {}),
        ("gamma", "gence", {"gamma": 2.0}),
        ("needs the number of training rows", "gence_prior", {}),
        ("got Linear", nn.Linear(2, 2), {}),
        ("got type", gence.GenCELoss, {}),
        ("strength cannot be set on a loss that is a module", gence.GenCELoss(), {"strength": 0.5}),
        ("must ignore label -100", gence.GenCELoss(ignore_index=0), {}),
        ("loss AdaFocalLoss wants", gence.losses.AdaFocalLoss(), {}),
    ):
        with pytest.raises(InputError, match=message):
            TrainerLoss(loss, **settings)


def test_the_mixin_refuses_what_it_cannot_make_exact(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a compute_loss_func that is a TrainerLoss; got NoneType"):
        trained(tmp_path, None, trainer_class=ExactTrainer)
    for name in ("gence_focal", "gence_margin", "mmce", "mdca", "dca"):
        with pytest.raises(InputError, match=f"cannot make {name} exact"):
            trained(tmp_path, TrainerLoss(name), trainer_class=ExactTrainer)


def test_the_module_needs_neither_transformers_nor_torchvision() -> None:
    """Nor does the library import Lightning, which is asked here to start one process less."""
    code = (
        "import sys, gence.calibration, gence.integrations.huggingface\n"
        "others = {'transformers', 'torchvision', 'accelerate', 'lightning', 'pytorch_lightning'}\n"
        "assert not others & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def case_ranks_share_one_class_mass() -> None:
    """Two ranks with batches of 4 make the steps of one process with 16 rows, in 2 micro-batches or in none."""
    folder = Path(sys.argv[1])
    expected = torch.load(folder / "expected.pt", weights_only=True)
    plain, prior = {"loss": "gence"}, {"loss": "gence_prior", "class_counts": COUNTS}
    for loss, split, trainer_class in (
        (plain, (4, 2), ExactTrainer),
        (prior, (4, 2), ExactTrainer),
        (plain, (8, 1), ExactTrainer),
        (prior, (8, 1), transformers.Trainer),
    ):
        parts = trained(folder / "out", TrainerLoss(**loss), split, trainer_class=trainer_class, max_steps=2)
        assert parts.args.world_size == 2
        assert_close(weights(parts), expected[loss["loss"]], rtol=0.0, atol=1e-9)
    moving = gence.MovingClassMass(CLASSES).double()
    parts = trained(folder / "out", TrainerLoss(gence.GenCELoss(class_mass=moving)), (8, 1), max_steps=2)
    assert_close(weights(parts), expected["gence_moving"], rtol=0.0, atol=1e-9)


def test_two_processes(tmp_path: Path) -> None:
    losses = {
        "gence": TrainerLoss("gence"),
        "gence_prior": TrainerLoss("gence_prior", class_counts=COUNTS),
        "gence_moving": TrainerLoss(gence.GenCELoss(class_mass=gence.MovingClassMass(CLASSES).double())),
    }
    expected = {name: weights(trained(tmp_path / "out", loss, max_steps=2)) for name, loss in losses.items()}
    torch.save(expected, tmp_path / "expected.pt")
    start(__file__, tmp_path)
    for rank in (0, 1):
        trace = what_went_wrong("ranks", rank, tmp_path)
        assert not trace, trace


if __name__ == "__main__":
    # As torchrun would set them; the port is not used, as the processes have met already.
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    take_part({"ranks": case_ranks_share_one_class_mass})
