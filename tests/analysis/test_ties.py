import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.stats import chi2
from statsmodels.stats.multitest import multipletests

from analysis.statistics.inference import paired, sign_flip_p
from analysis.statistics.ties import family_p, letters, power, smallest_gap, ties

FAULTS = [
    (
        "analysis/statistics/ties.py",
        "error = _error(differences[between])",
        "error = _error(differences)",
    ),
    ("analysis/statistics/ties.py", "or order[1:2]", "or order[1:]"),
    # equal sums are told apart by rounding
    (
        "analysis/statistics/ties.py",
        "tolerance = np.maximum(slack * scale, 1e-12)",
        "tolerance = 0 * scale",
    ),
    # not corrected for the other pairs
    (
        "analysis/statistics/ties.py",
        "(largest >= observed[order]).mean(axis=0)",
        "(cosines[:, order] >= observed[order]).mean(axis=0)",
    ),
    # a gap from differences that do not vary
    (
        "analysis/statistics/ties.py",
        "if error > off.max(initial=0) else np.inf",
        "if np.isfinite(critical) else np.inf",
    ),
    ("analysis/statistics/ties.py", "last=k - better.sum(axis=1)", "last=k - better.sum(axis=0)"),
    ("analysis/statistics/ties.py", "differences[np.abs(differences) <= off] = 0", "pass"),
    ("analysis/statistics/ties.py", "[-allowed - 1], 1.0)", "[-allowed], 1.0)"),
    (
        "analysis/statistics/ties.py",
        "p[order] = np.maximum.accumulate((largest >= observed[order]).mean(axis=0))",
        "p[order] = (largest >= observed[order]).mean(axis=0)",
    ),
    # as if the standard error were known
    (
        "analysis/statistics/ties.py",
        "ndtr(gap - critical * deviation) + ndtr(-gap - critical * deviation)",
        "ndtr(gap - critical) + ndtr(-gap - critical)",
    ),
]

LEVELS = np.array([0.97, 0.97, 0.95, 0.94, 0.93, 0.9, 0.85, 0.1])  # two identical arms come first
SPREAD = 0.012  # of scores over repetitions


def study(rng, levels, n=10):
    """Accuracies of arms that share what a seed gives them."""
    scores = (
        levels[:, None]
        + 0.5 * SPREAD * rng.standard_normal(n)
        + SPREAD * rng.standard_normal((len(levels), n))
    )
    return scores.clip(0, 1)


def test_two_arms_have_the_sign_flip_test(rng):
    for n in (3, 6, 10):
        scores = rng.random((2, n))
        assert ties(scores, rng).p[0, 1] == sign_flip_p(scores[0] - scores[1], rng)


def test_counts_that_went_through_float32_are_told_apart_as_the_counts_are(rng):
    for _ in range(30):
        right = rng.integers(240, 252, (4, 8))
        np.testing.assert_array_equal(ties(np.float32(right / 270), rng).p, ties(right, rng).p)


def test_arms_that_rounding_tells_apart_do_not_raise_what_others_must_exceed(rng):
    right = rng.integers(200, 252, (3, 10))
    right[1] = right[0]
    rounded = right / 270
    rounded[1] = np.float32(rounded[1])
    assert ties(rounded, rng).critical == pytest.approx(ties(right, rng).critical)


@pytest.mark.parametrize("apart", [0.3, 0.1, 0.03, 0.01])
def test_a_family_is_corrected_as_by_enumeration(rng, apart):
    """All signs, |t| by scipy, step-down by definition: the largest over those less clear."""
    scores = rng.standard_normal((4, 7)) * 0.1 + apart * np.array([1, 2 / 3, 2 / 3, 0])[:, None]
    pairs = list(itertools.combinations(range(4), 2))
    differences = np.array([scores[i] - scores[j] for i, j in pairs])
    signs = np.array(list(itertools.product([1, -1], repeat=7)))
    t = np.array(
        [np.abs(stats.ttest_1samp(differences * row, 0, axis=1).statistic) for row in signs]
    )
    order = np.argsort(-t[0])
    raw = [
        (t[:, order[place:]].max(1) >= t[0, order[place]] - 1e-9).mean()
        for place in range(len(pairs))
    ]
    expected = np.empty(len(pairs))
    expected[order] = np.maximum.accumulate(raw)
    found, critical = family_p(differences, np.zeros(len(pairs)), rng)
    np.testing.assert_allclose(found, expected)
    largest = t.max(1) / critical
    assert (largest > 1 + 1e-9).mean() <= 0.05 < (largest > 1 - 1e-9).mean()
    holm = multipletests([sign_flip_p(pair, rng) for pair in differences], method="holm")[1]
    # what it gains over a correction that knows no correlation
    assert (found <= holm + 1e-12).all()


def test_ties_are_seen_in_float32():
    """Counts of examples in float32 and as whole numbers have the same ties."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        right = rng.integers(240, 271, (4, 6))
        exact = ties(right.astype(float), rng)
        recorded = ties(np.float32(right) / np.float32(270), rng)
        np.testing.assert_array_equal(recorded.p, exact.p)
        assert recorded.letters == exact.letters


def test_arms_that_never_differ_are_tied(rng):
    scores = rng.random(10)
    found = ties([scores, scores, scores - 0.5], rng)
    assert found.p[0, 1] == 1
    assert found.letters == ("a", "a", "b")
    assert found.first.tolist(), found.last.tolist() == ([1, 1, 3], [2, 2, 3])


@pytest.mark.parametrize("n", [6, 10, 20])
def test_arms_that_are_equal_everywhere_share_a_letter_and_tell_no_gap(n, rng):
    found = ties(np.full((3, n), 0.9), rng)
    assert found.letters == ("a", "a", "a")
    assert found.smallest_gap == np.inf
    assert (
        ties(np.array([[0.4], [0.4], [0.1]]) + np.linspace(0.1, 0.3, n), rng).smallest_gap == np.inf
    )


def test_rank_intervals_by_hand(rng):
    steps = np.linspace(-1, 1, 10) * 1e-4
    found = ties([0.9 + steps, 0.5 + steps, 0.9 + steps[::-1], 0.7 + steps], rng)
    assert found.first.tolist() == [1, 4, 1, 3]
    assert found.last.tolist() == [2, 4, 2, 3]
    assert found.letters == ("a", "c", "a", "b")


def test_what_follows_is_known(rng):
    """Better than an arm that is better than a third: better than the third, whatever its test."""
    from analysis.statistics.ties import _implied

    better = np.zeros((4, 4), bool)
    better[0, 1] = better[1, 2] = better[2, 3] = True
    np.testing.assert_array_equal(_implied(better), np.triu(np.ones((4, 4), bool), 1))


def test_five_repetitions_tell_nothing_apart_and_six_can(rng):
    five, six = (
        ties(np.array([[0.1], [0.9]]) + 1e-3 * rng.standard_normal((2, n)), rng) for n in (5, 6)
    )
    assert not five.better.any()
    assert five.critical == five.smallest_gap == np.inf
    assert six.better[1, 0]
    assert np.isfinite(six.smallest_gap)


def test_none_or_one_arm(rng):
    for k in (0, 1):
        found = ties(np.zeros((k, 4)), rng)
        assert found.letters == ("a",) * k
        assert found.last.tolist() == [1] * k


def test_letters_are_shared_by_those_that_are_not_told_apart():
    """Every relation of five arms that there is: 2^10."""
    pairs = list(itertools.combinations(range(5), 2))
    for chosen in itertools.product([False, True], repeat=len(pairs)):
        apart = np.zeros((5, 5), bool)
        for (i, j), told in zip(pairs, chosen, strict=True):
            apart[i, j] = apart[j, i] = told
        found = letters(apart, range(5))
        assert all(bool(set(found[i]) & set(found[j])) != apart[i, j] for i, j in pairs)
        assert all(found)
    assert letters(~np.eye(3, dtype=bool), [2, 0, 1]) == ("b", "c", "a")


def test_many_groups_have_names():
    found = letters(~np.eye(60, dtype=bool), range(60))
    assert len(set(found)) == 60


@pytest.mark.parametrize(
    ("gap", "n", "critical"), [(2, 10, 2.26), (3, 6, 4.0), (0, 10, 2.26), (1, 20, 3.5)]
)
def test_power_is_of_the_noncentral_t(gap, n, critical):
    expected = stats.nct.sf(critical, n - 1, gap) + stats.nct.cdf(-critical, n - 1, gap)
    assert power(gap, n, critical) == pytest.approx(expected, abs=2e-5)


def test_the_smallest_gap_has_its_power():
    assert power(smallest_gap(10, 3.0), 10, 3.0) == pytest.approx(0.8)
    assert power(5, 5, np.inf) == 0


def test_drawn_patterns_are_near_all_of_them(rng, monkeypatch):
    scores = rng.standard_normal((3, 12)) + np.array([0.8, 0.4, 0])[:, None]
    exact = ties(scores, rng)
    monkeypatch.setattr("analysis.statistics.ties.EXACT", 3)
    drawn = ties(scores, rng)
    np.testing.assert_allclose(drawn.p, exact.p, atol=0.015)
    assert drawn.critical == pytest.approx(exact.critical, rel=0.05)


def test_identical_arms_are_told_apart_in_one_study_of_twenty_at_most():
    """Exact: 25 of 512 patterns. Endless scores come to that, counts with ties stay below."""
    rng = np.random.default_rng(1)
    told = [ties(study(rng, LEVELS[:2] - 0.2), rng).better.any() for _ in range(1000)]
    assert stats.binomtest(sum(told), len(told), 25 / 512).pvalue > 0.01
    told = [ties(rng.binomial(270, 0.97, (2, 10)) / 270, rng).better.any() for _ in range(500)]
    assert np.mean(told) < 0.06


def test_no_winner_is_named_among_identical_arms():
    """Of 200 studies whose two best arms of eight are identical, at most 5 % name a winner."""
    rng = np.random.default_rng(2)
    found = [ties(study(rng, LEVELS), rng) for _ in range(200)]
    assert sum((one.last == 1).any() for one in found) <= 10
    # chance level is last, every time
    assert all(one.last[7] == one.first[7] == 8 for one in found)


def test_the_power_that_is_printed_is_the_power_there_is():
    """Two arms with a true gap of two standard errors of their difference."""
    rng = np.random.default_rng(4)
    n, error = 10, SPREAD * np.sqrt(2 / 10)
    found = [ties(study(rng, np.array([0.9 + 2 * error, 0.9]), n), rng) for _ in range(1000)]
    printed = np.mean([power(2, n, one.critical) for one in found])
    assert np.mean([one.better[0, 1] for one in found]) == pytest.approx(printed, abs=0.05)


def test_the_smallest_gap_is_seen_in_four_of_five_studies():
    rng = np.random.default_rng(5)
    gap = np.median([ties(study(rng, np.array([0.8, 0.8])), rng).smallest_gap for _ in range(500)])
    seen = [ties(study(rng, np.array([0.8 + gap, 0.8])), rng).better[0, 1] for _ in range(1000)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.05)


def test_the_smallest_gap_is_of_what_may_be_first(rng):
    """Controls far below say how many pairs there are, and nothing of how the best arms scatter."""
    first, second = 0.9 + 0.02 * rng.standard_normal((2, 10))
    controls = [[0.1 + 0.05 * place] * 10 for place in range(6)]
    found = ties([*controls, first, second], rng)
    assert set(found.order[:2]) == {6, 7}
    assert found.rivals == found.order[1:2]
    error = (first - second).std(ddof=1) / np.sqrt(10) / np.sqrt(chi2.median(9) / 9)
    assert found.smallest_gap == pytest.approx(smallest_gap(10, found.critical) * error, rel=1e-3)
    # a clear first arm: the second is what it was held against
    above = ties([*controls, first, second + 0.5], rng)
    assert (above.order[0], above.rivals) == (7, (6,))
    assert above.smallest_gap == pytest.approx(smallest_gap(10, above.critical) * error, rel=1e-3)


def test_an_interval_of_a_difference_agrees_with_the_test_where_it_is_clear(rng):
    scores = study(rng, LEVELS[[0, 7]])
    assert paired(scores[0], scores[1], rng).low > 0
    assert ties(scores, rng).better[0, 1]
