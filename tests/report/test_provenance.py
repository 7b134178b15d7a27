"""Where the numbers come from, also when the records say less, or more than one thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from gence.bench.records import Study, TrialRecord
from gence.report.provenance import dates, provenance, seeds

BuildStudy = Callable[..., Study]


def test_the_spec_is_flattened_and_nothing_of_it_is_lost(build_study: BuildStudy) -> None:
    spec = {
        "data": "digits",
        "target": None,
        "losses": ["ce", "focal"],
        "training": {"epochs": 3, "on": {"a": 1}},
        "x": {},
    }
    assert provenance(build_study(seeds=1, spec=spec)).specs == [
        (
            "Spec",
            [
                ("data", "digits"),
                ("target", "not given"),
                ("losses", "ce, focal"),
                ("training.epochs", "3"),
                ("training.on.a", "1"),
                ("x", "{}"),
            ],
        )
    ]


def test_values_that_differ_between_trials_are_all_shown(build_study: BuildStudy) -> None:
    found = provenance(build_study(budgets=(10, 50), seeds=1))
    assert dict(found.training)["updates"] == "150 | 750"
    assert dict(found.training)["epochs"] == "120"
    assert found.rows == [
        ("10 labels a class", "80 train, 20 calibration, 360 test"),
        ("50 labels a class", "400 train, 100 calibration, 360 test"),
    ]


def test_wrong_labels_are_counted_beside_their_rows(build_study: BuildStudy) -> None:
    wrong = {"train": 2, "validation": 0, "calibration": 1, "test": 0}
    found = provenance(build_study(budgets=(10,), seeds=1, wrong_labels=wrong))
    assert found.rows == [
        ("10 labels a class", "80 train (2 with a wrong label), 20 calibration (1 with a wrong label), 360 test")
    ]


def test_the_run_is_told_by_its_trials_seeds_days_and_hashes(build_study: BuildStudy) -> None:
    study = build_study(seeds=3, expected=100)
    assert provenance(study).run == [
        ("trials finished", "24 of 100"),
        ("seeds", "0, 1, 2"),
        ("finished", "2026-05-01T10:00:00+00:00 to 2026-05-03T10:00:00+00:00"),
        ("spec hash", "5eed" * 16),
        ("data fingerprint", "9f2c" * 16),
    ]
    assert dates(study) == "2026-05-01 to 2026-05-03"
    assert dates(build_study(seeds=1)) == "2026-05-01"
    assert seeds(study) == [0, 1, 2]


def test_a_command_is_shown_as_it_is_typed(build_study: BuildStudy) -> None:
    assert provenance(build_study(seeds=1)).commands == ["gence compare digits --out results"]
    words = ["gence", "compare", "my data.csv"]
    assert provenance(build_study(seeds=1, spec={"command": words})).commands == ["gence compare 'my data.csv'"]
    assert provenance(build_study(seeds=1, spec={"data": "digits"})).commands == []


def test_a_note_is_told_once_and_a_long_list_of_classes_is_cut(build_study: BuildStudy) -> None:
    found = provenance(build_study(notes=("One.", "Two.", "One."), class_names=tuple(f"class {i}" for i in range(45))))
    assert found.notes == ["One.", "Two."]
    (classes,) = found.classes
    assert (classes.data, len(classes.names), classes.more) == ("", 40, 5)


def test_what_a_loss_warned_of_is_told_once_a_setting(build_study: BuildStudy) -> None:
    study = build_study(batch_sizes=(8, 16), seeds=2, notes=("One.",))

    def warn(record: TrialRecord) -> TrialRecord:
        cautions = [f"{record.cell.batch_size} rows, seed {record.cell.seed}"] if record.cell.loss == "gence" else []
        return record.model_copy(update={"training": {**record.training, "cautions": cautions}})

    warned = [warn(record) for record in study.records]
    found = provenance(Study(study.folder, study.spec, study.expected, tuple(warned)))
    assert found.notes == ["One.", "GenCE: 8 rows, seed 0", "GenCE: 16 rows, seed 0"]
    assert "cautions" not in dict(found.training)


def test_records_that_say_nothing_leave_the_tables_empty(build_study: BuildStudy) -> None:
    full = build_study(seeds=1)
    bare = [record.model_copy(update={"data": {}, "training": {}, "environment": {}}) for record in full.records]
    found = provenance(Study(full.folder, {}, len(bare), tuple(bare)))
    assert (found.notes, found.classes, found.rows, found.specs, found.training, found.environment) == (
        [],
        [],
        [],
        [("Spec", [])],
        [],
        [],
    )
    odd = {"notes": "a sentence, not a list", "class_names": None, "rows": 5}
    found = provenance(Study(full.folder, {}, 1, (full.records[0].model_copy(update={"data": odd}),)))
    assert (found.notes, found.classes, found.rows) == ([], [], [])


def test_what_a_fit_had_to_remark_is_counted_by_budget(build_study: BuildStudy) -> None:
    study = build_study(budgets=(10,), seeds=2)
    record = study.records[0]
    remarked = record.results["temperature"].model_copy(update={"remarks": ("it stopped at 0.05",)})
    changed = record.model_copy(update={"results": {**record.results, "temperature": remarked}})
    study = dataclasses.replace(study, records=(changed, *study.records[1:]))
    trials = len(study.records)
    assert provenance(study).fits == [
        f"10 labels a class, temperature scaling: it stopped at 0.05 (1 of {trials} trials)"
    ]


def test_with_several_batch_sizes_a_remark_names_its_own_and_the_rows_are_told_once(build_study: BuildStudy) -> None:
    study = build_study(losses=("ce",), budgets=(10,), batch_sizes=(8, 32), seeds=2)
    record = study.records[-1]
    remarked = record.results["ats"].model_copy(update={"remarks": ("too few rows",)})
    changed = record.model_copy(update={"results": {**record.results, "ats": remarked}})
    found = provenance(dataclasses.replace(study, records=(*study.records[:-1], changed)))
    assert found.fits == ["batches of 32, adaptive temperature (ATS): too few rows (1 of 2 trials)"]
    assert found.rows == [("10 labels a class", "80 train, 20 calibration, 360 test")]
    assert dict(found.training)["batch_size"] == "8 | 32"
    assert dict(found.specs[0][1])["training.batch_size"] == "8, 32"
