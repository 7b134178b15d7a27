"""GenCE in the Trainer of transformers, under gradient accumulation: `python examples/huggingface_trainer.py`.

When GenCE is worth it here: with two classes and a free bias it fits about the same model as cross-entropy in the end,
so do not expect a gain, and one short run could show none; where you want it, `ExactAccumulation` makes it the loss of
the whole accumulated batch, at the price of one more forward pass, and that is what this shows.

A small transformer learns, from scratch, whether a row of tokens holds more of the first half of the vocabulary than of
the second. Needs transformers and accelerate (`pip install 'transformers[torch]'`); nothing is downloaded.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, Trainer, TrainingArguments

from gence import metrics
from gence.integrations.huggingface import ExactAccumulation, TrainerLoss

TOKENS, LENGTH, TRAIN_ROWS, TEST_ROWS = 20, 7, 192, 512


class ExactTrainer(ExactAccumulation, Trainer):
    """A Trainer whose micro-batches share one class mass a step."""


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    ids = torch.randint(TOKENS, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    labels = ((ids < TOKENS // 2).sum(1) > LENGTH // 2).long()
    return [{"input_ids": row, "labels": label} for row, label in zip(ids, labels, strict=True)]


def trained(trainer_class: type[Trainer], loss: TrainerLoss, rows_at_once: int, folder: str) -> Trainer:
    """A trainer after 4 epochs of steps of 16 rows, so many at once."""
    transformers.set_seed(0)
    config = BertConfig(
        vocab_size=TOKENS,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        num_labels=2,
        hidden_dropout_prob=0.0,  # with dropout the masks, and so the weights, depend on the size of a micro-batch
        attention_probs_dropout_prob=0.0,
    )
    trainer = trainer_class(
        model=BertForSequenceClassification(config).double(),  # so that what is left is no rounding of float32
        args=TrainingArguments(
            output_dir=folder,
            num_train_epochs=4,
            per_device_train_batch_size=rows_at_once,
            gradient_accumulation_steps=16 // rows_at_once,
            per_device_eval_batch_size=256,
            learning_rate=5e-3,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=rows(TRAIN_ROWS, seed=0),  # type: ignore[arg-type]
        eval_dataset=rows(TEST_ROWS, seed=1),  # type: ignore[arg-type]
        compute_loss_func=loss,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer


def main() -> None:
    torch.set_num_threads(1)  # for so small a model more are slower
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    runs = {
        "GenCE, 1 x 16 rows": (Trainer, TrainerLoss("gence"), 16),
        "GenCE, 4 x 4 rows, exact": (ExactTrainer, TrainerLoss("gence"), 4),
        "GenCE, 4 x 4 rows, each by itself": (Trainer, TrainerLoss("gence"), 4),
    }
    of_whole: torch.Tensor | None = None
    with tempfile.TemporaryDirectory() as folder:
        for name, (trainer_class, loss, rows_at_once) in runs.items():
            trainer = trained(trainer_class, loss, rows_at_once, folder)
            found = trainer.predict(trainer.eval_dataset)  # type: ignore[arg-type]
            probs = torch.as_tensor(found.predictions).double().softmax(1)
            target = torch.as_tensor(found.label_ids)
            if name == "GenCE, 1 x 16 rows":
                of_whole = probs
            line = (
                f"{name:34} accuracy {metrics.accuracy(probs, target).item():.1%}  "
                f"NLL {metrics.negative_log_likelihood(probs, target).item():.4f}  "
                f"ECE {metrics.expected_calibration_error(probs, target).item():.2%}"
            )
            if "GenCE, 4" in name and of_whole is not None:
                line += f"  furthest from 1 x 16: {(probs - of_whole).abs().max().item():.1e}"
            print(line)


if __name__ == "__main__":
    main()
