"""Triton kernels of the forward pass: the softmax of each row, its log-likelihood, and the sum of each column.

Short rows are held in registers by programs that each go through many of them (`row_statistics`) and add up the
probabilities of each class as they go. Long rows are read twice: once for their softmax (`long_row_statistics`), once
for the sums (`long_row_sums`). In both cases a program writes its own partial sums, and `class_sums` adds these in a
fixed order: no atomics, so the same numbers give the same bits.

A softmax is kept as two numbers a row, the largest logit and the logarithm of the sum of exp(logit - largest): joined
into one they would lose, for logits shifted by 1e4, all digits behind the third.
"""

# pyright: reportOperatorIssue=false
# To pyright a reduction of Triton gives a tuple.

from __future__ import annotations

import triton
import triton.language as tl

SIZES = ("num_rows", "num_programs", "row_stride")
"""One binary serves all of these: a last batch that is smaller compiles nothing anew."""

LOG2_E = tl.constexpr(1.4426950408889634)

IMPOSSIBLE = tl.constexpr(-3.0e38)
"""A logit below this masks a class: minus infinity, or the least number of bfloat16 or float32."""

POSSIBLE_MARK = tl.constexpr(1.1754943508222875e-38)
"""Added for each logit that is no mask: a sum is 0 if the class is impossible in all rows, not if it underflows."""

SAFE_SUM = tl.constexpr(1e-24)
"""From here on a sum of probabilities in float32 has all its digits, whatever of it underflowed."""

LEAST = tl.constexpr(-3.4028234663852886e38)


@triton.jit
def counting_rows(counts, rows, num_rows):
    """Which of these rows there are and count."""
    there = rows < num_rows
    if counts is not None:
        there = there & (tl.load(counts + rows, mask=there, other=0) != 0)
    return there


@triton.jit
def starts_of(rows, row_stride, ALIGNMENT: tl.constexpr):
    """Where rows start: a product, which tells the compiler what they are multiples of, as no hint at a size does."""
    return rows.to(tl.int64) * (row_stride // ALIGNMENT * ALIGNMENT)


@triton.jit
def load_logits(logits, row_stride, rows, columns, counting, NUM_CLASSES: tl.constexpr, ALIGNMENT: tl.constexpr):
    """Logits, minus infinity outside of the classes and in rows that do not count, which may hold anything."""
    start = starts_of(rows, row_stride, ALIGNMENT)
    return tl.load(
        logits + start[:, None] + columns[None, :],
        mask=counting[:, None] & (columns < NUM_CLASSES)[None, :],
        other=-float("inf"),
    )


@triton.jit
def load_labels(target, weight, rows, counting, smoothing, NUM_CLASSES: tl.constexpr):
    """The labels, and what they weigh; a number that is no class becomes the label -1, which weighs NaN."""
    label = tl.load(target + rows, mask=counting, other=0)
    label = tl.where((label >= 0) & (label < NUM_CLASSES), label, -1)
    share = tl.where(label >= 0, 1.0 - smoothing, float("nan"))
    if weight is not None:
        share *= tl.load(weight + label, mask=label >= 0, other=0.0).to(tl.float32)
    return label, share


@triton.jit
def load_spread(weight, smoothing, columns, NUM_CLASSES: tl.constexpr):
    """What every row's target gives to each class, besides its label."""
    inside = columns < NUM_CLASSES
    spread = tl.where(inside, smoothing / NUM_CLASSES, 0.0)
    if weight is not None:
        spread *= tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    return spread


@triton.jit
def log_softmax_at(logits, row_stride, rows, label, counting, peak, log_sum, ALIGNMENT: tl.constexpr):
    """The log-probability of one class of each row."""
    start = starts_of(rows, row_stride, ALIGNMENT)
    logit = tl.load(logits + start + label, mask=counting & (label >= 0), other=0.0).to(tl.float32)
    return (logit - peak) - log_sum


@triton.jit
def possible_mark(logit):
    return tl.where(logit > IMPOSSIBLE, POSSIBLE_MARK, 0.0)


@triton.jit(do_not_specialize=SIZES)
def row_statistics(
    logits,  # (N, C)
    target,  # (N)
    counts,  # (N) or None
    weight,  # (C) or None
    log_likelihood,  # (N)
    saved,  # (2, N)
    partial_sums,  # (programs, C)
    smoothing,
    num_rows,
    row_stride,
    SMOOTHED: tl.constexpr,
    NUM_CLASSES: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Whole rows: softmax, log-likelihood and partial column sums in one pass over the logits."""
    program = tl.program_id(0)
    step = tl.num_programs(0) * ROWS
    columns = tl.arange(0, COLUMNS)
    inside = columns < NUM_CLASSES
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    rows = program * ROWS + tl.arange(0, ROWS)
    next_counting = counting_rows(counts, rows, num_rows)
    next_logit = load_logits(logits, row_stride, rows, columns, next_counting, NUM_CLASSES, ALIGNMENT)
    for first in range(program * ROWS, num_rows, step):
        # The next rows are on their way while these are worked on, in their own dtype: to convert them is to wait.
        rows = first + tl.arange(0, ROWS)
        counting, logit = next_counting, next_logit.to(tl.float32)
        next_counting = counting_rows(counts, rows + step, num_rows)
        next_logit = load_logits(logits, row_stride, rows + step, columns, next_counting, NUM_CLASSES, ALIGNMENT)

        peak = tl.where(counting, tl.max(logit, 1), 0.0)
        sums += possible_mark(logit)
        exponential = tl.exp2((logit - peak[:, None]) * LOG2_E)
        total = tl.where(counting, tl.sum(exponential, 1), 1.0)
        log_sum = tl.log(total)
        sums += exponential * (1.0 / total)[:, None]

        label, share = load_labels(target, weight, rows, counting, smoothing, NUM_CLASSES)
        likelihood = share * log_softmax_at(logits, row_stride, rows, label, counting, peak, log_sum, ALIGNMENT)
        if SMOOTHED:
            log_q = tl.where(inside[None, :], (logit - peak[:, None]) - log_sum[:, None], 0.0)
            likelihood += tl.sum(load_spread(weight, smoothing, columns, NUM_CLASSES)[None, :] * log_q, 1)
        there = rows < num_rows
        tl.store(log_likelihood + rows, tl.where(counting, likelihood, 0.0), mask=there)
        tl.store(saved + rows, peak, mask=there)
        tl.store(saved + num_rows + rows, log_sum, mask=there)
    tl.store(partial_sums + program * NUM_CLASSES + columns, tl.sum(sums, 0), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def long_row_statistics(
    logits,  # (N, C)
    target,  # (N)
    counts,  # (N) or None
    weight,  # (C) or None
    log_likelihood,  # (N)
    saved,  # (2, N)
    smoothing,
    num_rows,
    row_stride,
    SMOOTHED: tl.constexpr,
    NUM_CLASSES: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Softmax and log-likelihood of long rows, a piece at a time; the sums are corrected whenever the peak rises."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    counting = counting_rows(counts, rows, num_rows)
    running_peak = tl.full((ROWS,), -float("inf"), tl.float32)
    peak = tl.zeros((ROWS,), tl.float32)
    totals = tl.zeros((ROWS, COLUMNS), tl.float32)
    spread_logits = tl.zeros((ROWS, COLUMNS), tl.float32)  # the sum of spread * (logit - peak)
    seen = tl.zeros((COLUMNS,), tl.float32)  # the sum of spread
    for first in range(0, NUM_CLASSES, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        logit = load_logits(logits, row_stride, rows, columns, counting, NUM_CLASSES, ALIGNMENT).to(tl.float32)
        running_peak = tl.maximum(running_peak, tl.max(logit, 1))
        old_peak = peak
        peak = tl.where(running_peak == -float("inf"), 0.0, running_peak)  # as long as all classes are masked
        # It rises, but for the 0 before the first logits, when there is nothing to correct.
        correction = tl.exp2(tl.minimum(old_peak - peak, 0.0) * LOG2_E)
        totals = totals * correction[:, None] + tl.exp2((logit - peak[:, None]) * LOG2_E)
        if SMOOTHED:
            spread = load_spread(weight, smoothing, columns, NUM_CLASSES)
            centred = tl.where((columns < NUM_CLASSES)[None, :], logit - peak[:, None], 0.0)
            spread_logits += seen[None, :] * (old_peak - peak)[:, None] + spread[None, :] * centred
            seen += spread
    total = tl.where(counting, tl.sum(totals, 1), 1.0)
    # A row that is masked everywhere has no softmax: NaN, as in PyTorch.
    log_sum = tl.log(tl.where(total == 0.0, float("nan"), total))
    label, share = load_labels(target, weight, rows, counting, smoothing, NUM_CLASSES)
    likelihood = share * log_softmax_at(logits, row_stride, rows, label, counting, peak, log_sum, ALIGNMENT)
    if SMOOTHED:
        likelihood += tl.sum(spread_logits, 1) - tl.sum(seen, 0) * log_sum
    there = rows < num_rows
    tl.store(log_likelihood + rows, tl.where(counting, likelihood, 0.0), mask=there)
    tl.store(saved + rows, peak, mask=there)
    tl.store(saved + num_rows + rows, log_sum, mask=there)


@triton.jit
def load_log_softmax(
    logits, row_stride, saved, rows, columns, counting, num_rows, NUM_CLASSES: tl.constexpr, ALIGNMENT: tl.constexpr
):
    """Log-probabilities, minus infinity outside of the classes and in rows that do not count; and the logits."""
    logit = load_logits(logits, row_stride, rows, columns, counting, NUM_CLASSES, ALIGNMENT).to(tl.float32)
    peak = tl.load(saved + rows, mask=counting, other=0.0)
    log_sum = tl.load(saved + num_rows + rows, mask=counting, other=0.0)
    return (logit - peak[:, None]) - log_sum[:, None], logit


@triton.jit(do_not_specialize=SIZES)
def long_row_sums(
    logits,  # (N, C)
    counts,  # (N) or None
    saved,  # (2, N)
    partial_sums,  # (programs, C)
    num_rows,
    row_stride,
    NUM_CLASSES: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Partial sums of the probabilities of some columns, over some of the rows."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    program = tl.program_id(1)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(program * ROWS, num_rows, tl.num_programs(1) * ROWS):
        rows = first + tl.arange(0, ROWS)
        counting = counting_rows(counts, rows, num_rows)
        log_q, logit = load_log_softmax(
            logits, row_stride, saved, rows, columns, counting, num_rows, NUM_CLASSES, ALIGNMENT
        )
        sums += tl.exp2(log_q * LOG2_E) + possible_mark(logit)
    tl.store(partial_sums + program * NUM_CLASSES + columns, tl.sum(sums, 0), mask=columns < NUM_CLASSES)


@triton.jit(do_not_specialize=SIZES)
def class_sums(
    partial_sums,  # (programs, C)
    logits,  # (N, C)
    counts,  # (N) or None
    saved,  # (2, N)
    log_sums,  # (C)
    num_programs,
    num_rows,
    row_stride,
    NUM_CLASSES: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The logarithm of the sum of each column; where the sum underflows, by another look at the logits."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < NUM_CLASSES
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, num_programs, ROWS):
        programs = first + tl.arange(0, ROWS)
        there = (programs < num_programs)[:, None] & inside[None, :]
        sums += tl.load(partial_sums + programs[:, None] * NUM_CLASSES + columns[None, :], mask=there, other=0.0)
    sum_of_column = tl.sum(sums, 0)
    log_sum = tl.where(sum_of_column == 0.0, LEAST, tl.log(tl.where(sum_of_column == 0.0, 1.0, sum_of_column)))
    tiny = (sum_of_column > 0.0) & (sum_of_column < SAFE_SUM)
    if tl.max(tiny.to(tl.int32), 0) > 0:
        running_peak = tl.full((ROWS, COLUMNS), -float("inf"), tl.float32)
        totals = tl.zeros((ROWS, COLUMNS), tl.float32)
        for first in range(0, num_rows, ROWS):
            rows = first + tl.arange(0, ROWS)
            counting = counting_rows(counts, rows, num_rows)
            log_q, _ = load_log_softmax(
                logits, row_stride, saved, rows, columns, counting, num_rows, NUM_CLASSES, ALIGNMENT
            )
            new_peak = tl.maximum(running_peak, log_q)
            peak = tl.where(new_peak == -float("inf"), 0.0, new_peak)
            totals = totals * tl.exp2((running_peak - peak) * LOG2_E) + tl.exp2((log_q - peak) * LOG2_E)
            running_peak = new_peak
        top = tl.max(running_peak, 0)
        top = tl.where(top == -float("inf"), 0.0, top)
        total = tl.sum(totals * tl.exp2((running_peak - top[None, :]) * LOG2_E), 0)
        log_sum = tl.where(tiny & (total > 0.0), top + tl.log(tl.where(total > 0.0, total, 1.0)), log_sum)
    # Not tl.maximum, which would take the place of a NaN.
    tl.store(log_sums + columns, tl.where(log_sum < LEAST, LEAST, log_sum), mask=inside)
