"""Triton kernels of the backward pass: the gradient of each row, given the softmax of the row and one ratio a class.

With t the row's share of each class, amount * q / mass, the gradient is that of the row's own term plus that of the
class sums: own * (A q - P) + pull * (t - q * sum of t). It is local to the row, which is read and written once; a long
row is read twice, the second time largely from the cache.
"""

# pyright: reportOperatorIssue=false
# To pyright a reduction of Triton gives a tuple.

from __future__ import annotations

import triton
import triton.language as tl

from gence.kernels.triton_forward import LOG2_E, SIZES, counting_rows, load_labels, load_log_softmax, load_spread

LOG_SAFE_MASS = tl.constexpr(-69.0)
"""Probabilities down to exp(-69) have all their digits in float32, and their inverses are far from overflow."""


@triton.jit
def load_of_rows(numbers, stride, rows, counting):
    """One number a row, or the same for all if the stride is 0."""
    return tl.load(numbers + rows.to(tl.int64) * stride, mask=counting, other=0.0).to(tl.float32)


@triton.jit
def load_of_classes(amount, log_mass, columns, inside):
    """Amounts and log masses; the latter 0 where there is no amount, as 0 times an infinite inverse would be NaN."""
    amounts = tl.load(amount + columns, mask=inside, other=0.0).to(tl.float32)
    log_masses = tl.load(log_mass + columns, mask=inside, other=0.0).to(tl.float32)
    return amounts, tl.where(amounts == 0.0, 0.0, log_masses)


@triton.jit(do_not_specialize=SIZES)
def row_gradients(
    logits,  # (N, C)
    saved,  # (2, N)
    target,  # (N)
    counts,  # (N) or None
    weight,  # (C) or None
    own,  # (N) or ()
    pull,  # (N) or ()
    amount,  # (C)
    log_mass,  # (C)
    gradient,  # (N, C)
    smoothing,
    num_rows,
    row_stride,
    own_stride,
    pull_stride,
    SMOOTHED: tl.constexpr,
    NUM_CLASSES: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Whole rows, the last ones first: the forward pass has left them in the cache."""
    rows = (tl.num_programs(0) - 1 - tl.program_id(0)) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    inside = columns < NUM_CLASSES
    counting = counting_rows(counts, rows, num_rows)
    log_q, _ = load_log_softmax(logits, row_stride, saved, rows, columns, counting, num_rows, NUM_CLASSES, ALIGNMENT)
    amounts, log_masses = load_of_classes(amount, log_mass, columns, inside)
    q = tl.exp2(log_q * LOG2_E)
    t = amounts[None, :] * tl.exp2((log_q - log_masses[None, :]) * LOG2_E)

    label, share = load_labels(target, weight, rows, counting, smoothing, NUM_CLASSES)
    mine = load_of_rows(own, own_stride, rows, counting)
    pulled = load_of_rows(pull, pull_stride, rows, counting)
    whole = share
    if SMOOTHED:
        whole += tl.sum(load_spread(weight, smoothing, columns, NUM_CLASSES), 0)
    result = q * (mine * whole - pulled * tl.sum(t, 1))[:, None] + pulled[:, None] * t
    result -= tl.where(columns[None, :] == label[:, None], (mine * share)[:, None], 0.0)
    if SMOOTHED:
        result -= mine[:, None] * load_spread(weight, smoothing, columns, NUM_CLASSES)[None, :]
    place = gradient + rows.to(tl.int64)[:, None] * NUM_CLASSES + columns[None, :]
    result = tl.where(counting[:, None], result, 0.0)
    tl.store(place, result.to(gradient.dtype.element_ty), mask=(rows < num_rows)[:, None] & inside[None, :])


@triton.jit
def class_ratios(
    amount,  # (C)
    log_mass,  # (C)
    ratio,  # (C)
    direct,  # (pieces)
    NUM_CLASSES: tl.constexpr,
    ROWS: tl.constexpr,  # of the logits that are worked on next in such pieces
    COLUMNS: tl.constexpr,
):
    """Amount over mass, and for each piece of the columns whether all masses are large enough to divide by."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < NUM_CLASSES
    amounts, log_masses = load_of_classes(amount, log_mass, columns, inside)
    small = log_masses < LOG_SAFE_MASS
    ratios = amounts * tl.exp2(tl.where(small, 0.0, -log_masses) * LOG2_E)
    unsafe = small | (tl.abs(ratios) == float("inf"))  # of large amounts: times a probability of 0 it would be NaN
    tl.store(ratio + columns, ratios, mask=inside)
    tl.store(direct + tl.program_id(0), 1 - tl.max(unsafe.to(tl.int32), 0))


@triton.jit
def shares_of_piece(ratio, direct, amount, log_mass, log_q, q, piece, columns, NUM_CLASSES: tl.constexpr):
    """The rows' shares t of these classes: one number a class is read, where it can be, not two."""
    inside = columns < NUM_CLASSES
    if tl.load(direct + piece) != 0:
        t = q * tl.load(ratio + columns, mask=inside, other=0.0)[None, :]
    else:
        amounts, log_masses = load_of_classes(amount, log_mass, columns, inside)
        t = amounts[None, :] * tl.exp2((log_q - log_masses[None, :]) * LOG2_E)
    return t


@triton.jit(do_not_specialize=SIZES)
def long_row_gradients(
    logits,  # (N, C)
    saved,  # (2, N)
    target,  # (N)
    counts,  # (N) or None
    weight,  # (C) or None
    own,  # (N) or ()
    pull,  # (N) or ()
    amount,  # (C)
    log_mass,  # (C)
    ratio,  # (C)
    direct,  # (pieces)
    gradient,  # (N, C)
    smoothing,
    num_rows,
    row_stride,
    own_stride,
    pull_stride,
    SMOOTHED: tl.constexpr,
    NUM_CLASSES: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Long rows in pieces, the last rows first: forwards for the sum of t, then backwards for the gradient."""
    rows = (tl.num_programs(0) - 1 - tl.program_id(0)) * ROWS + tl.arange(0, ROWS)
    there = rows < num_rows
    counting = counting_rows(counts, rows, num_rows)
    shares = tl.zeros((ROWS, COLUMNS), tl.float32)
    spreads = tl.zeros((COLUMNS,), tl.float32)
    for first in range(0, NUM_CLASSES, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        log_q, _ = load_log_softmax(
            logits, row_stride, saved, rows, columns, counting, num_rows, NUM_CLASSES, ALIGNMENT
        )
        q = tl.exp2(log_q * LOG2_E)
        piece = first // COLUMNS
        shares += shares_of_piece(ratio, direct, amount, log_mass, log_q, q, piece, columns, NUM_CLASSES)
        if SMOOTHED:
            spreads += load_spread(weight, smoothing, columns, NUM_CLASSES)

    label, share = load_labels(target, weight, rows, counting, smoothing, NUM_CLASSES)
    mine = load_of_rows(own, own_stride, rows, counting)
    pulled = load_of_rows(pull, pull_stride, rows, counting)
    whole = share
    if SMOOTHED:
        whole += tl.sum(spreads, 0)
    of_q = mine * whole - pulled * tl.sum(shares, 1)
    of_label = mine * share
    for done in range(0, NUM_CLASSES, COLUMNS):
        piece = (NUM_CLASSES - 1 - done) // COLUMNS
        columns = piece * COLUMNS + tl.arange(0, COLUMNS)
        inside = columns < NUM_CLASSES
        log_q, _ = load_log_softmax(
            logits, row_stride, saved, rows, columns, counting, num_rows, NUM_CLASSES, ALIGNMENT
        )
        q = tl.exp2(log_q * LOG2_E)
        t = shares_of_piece(ratio, direct, amount, log_mass, log_q, q, piece, columns, NUM_CLASSES)
        result = q * of_q[:, None] + pulled[:, None] * t
        result -= tl.where(columns[None, :] == label[:, None], of_label[:, None], 0.0)
        if SMOOTHED:
            result -= mine[:, None] * load_spread(weight, smoothing, columns, NUM_CLASSES)[None, :]
        place = gradient + rows.to(tl.int64)[:, None] * NUM_CLASSES + columns[None, :]
        result = tl.where(counting[:, None], result, 0.0)
        tl.store(place, result.to(gradient.dtype.element_ty), mask=there[:, None] & inside[None, :])
