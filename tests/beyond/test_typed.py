import pytest

from beyond.errors import InputError
from beyond.run.typed import typed


def test_a_choice_has_its_settings_and_those_of_its_parts():
    group, name, made = typed(
        ["method.batch_size=7", "method=backprop", "method.optimizer.learning_rate=0.5"], "method"
    )
    assert (group, name, made.batch_size, made.optimizer.learning_rate) == (
        "method",
        "backprop",
        7,
        0.5,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one choice must be given, method=NAME or task=NAME, got none"),
        (["method=backprop", "task=image/digits"], "one choice must be given"),
        (["method=backprop", "task.shots=3"], "one choice must be given"),
        (["backprop"], "arguments must be method=NAME or task=NAME or method.SETTING=VALUE"),
        (["network=mlp"], "arguments must be method=NAME"),
        (["method=bakprop"], "method must be one of backprop, actor_critic"),
        (["method=backprop", "method.rate=3"], "unknown setting 'rate'"),
        (["method=backprop", "method.batch_size=0"], "batch_size must be an integer >= 1"),
    ],
)
def test_anything_else_is_one_line(arguments, message):
    with pytest.raises(InputError, match=r"^[^\n]+$") as refusal:
        typed(arguments, "method", "task")
    assert message in str(refusal.value)
