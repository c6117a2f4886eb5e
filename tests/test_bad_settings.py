"""Settings of the wrong type, range or choice, of every group: one line, status 1, no file."""

import subprocess
import sys

import pytest

from beyond.catalog import PARTS

FAULTS = [
    ("beyond/run/cell.py", "require_replicas(arm.method, len(cell.seeds))", "pass"),
    ("beyond/settings.py", '{"", ".", ".."}.isdisjoint', '{""}.isdisjoint'),
    ("beyond/ledger.py", "or self.amount.is_integer()", "or True"),
]
STRANGE = "_target_ must be in beyond, methods, tasks, analysis or a package that BEYOND_PLUGINS declares, got "


def cases(text):
    """Lines of arguments -> how the answer begins; dots where it goes on after a blank."""
    lines = (line.strip().removesuffix("...") for line in text.strip().splitlines())
    return [tuple(line.split(" -> ")) for line in lines]


CASES = {
    "method": cases(
        """
        method.batch_size=32.5 -> batch_size must be an integer >= 1, or null, got 32.5
        method.batch_size=true -> batch_size must be an integer >= 1, or null, got True
        method.batch_size=0 -> batch_size must be an integer >= 1, or null, got 0
        method.batch_size=[32] -> batch_size must be an integer >= 1, or null, got [32]
        method.batch_size=many -> batch_size must be an integer >= 1, or null, got 'many'
        method.engine=fast -> engine must be one of chain_rule, autograd; got 'fast'
        method.engine=null -> engine must be one of chain_rule, autograd; got None
        method.gradient_noise=-1 -> gradient_noise must be >= 0, got -1
        method.gradient_noise=nan -> gradient_noise must be >= 0, got nan
        method.gradient_noise=inf -> gradient_noise must be finite and >= 0, got inf
        method.gradient_noise=no -> gradient_noise must be a number >= 0, got 'no'
        method.optimizer=null -> optimizer must be an Optimizer, got None
        method=fine_tuning start.keep_head=no -> keep_head must be true or false, got 'no'
        method=fine_tuning method.n_layers=0 -> n_layers must be an integer >= 1, or null, got 0
        method=evolution_strategy method.ranks=off -> ranks must be true or false, got 'off'
        method=evolution_strategy method.ranks=1 -> ranks must be true or false, got 1
        method=genetic method.n_elites=64 -> n_elites must be < population_size (64), got 64
        method=hebbian method.rule=x -> rule must be one of oja, competitive; got 'x'
        method=fine_tuning method.n_layers=3 -> n_layers must be at most 2 for this network, got 3
        +method.batchsize=32 -> unknown setting 'batchsize' of Backprop; known: optimizer, batch_size, engine, ...
        """
    ),
    "task": cases(
        """
        task.split_seed=-1 -> split_seed must be an integer >= 0, or null, got -1
        task.split_seed=1.5 -> split_seed must be an integer >= 0, or null, got 1.5
        task.train_size=0 -> train_size must be an integer >= 1, or null, got 0
        task.train_size=true -> train_size must be an integer >= 1, or null, got True
        task.label_noise=2 -> label_noise must be in [0, 1], got 2.0
        task.label_noise=null -> label_noise must be a number >= 0, got None
        task.noisy_validation=yes -> noisy_validation must be true or false, got 'yes'
        start.source=x -> start.source must be one of default, glyphs; got 'x'
        task.shots=5000 -> shots must be at most ...
        task.train_size=5000 -> train_size must be at most 1257, the training part of image/digits, got 5000
        method=maml task=regression/sinusoids task.shots=0 -> shots must be an integer >= 1, got 0
        task.shift=8 -> shift must be an integer in [0, 7], got 8
        task=regression/gains task.case=hard -> case must be one of ...
        method=maml task=image/glyphs task.shots=5000 -> shots must be an integer in [1, 50], got 5000
        task=image/mnist1d task.n_samples=105 -> n_samples must be a multiple of 10, >= 100, got 105
        task=regression/linear_teacher task.singular_values=5 -> singular_values must be a list, each > 0, or null
        """
    ),
    "network": cases(
        """
        network=mlp network.hidden=32 -> hidden must be a list, each an integer >= 1, got 32
        task=images task.path=x task.size=[8] -> size must be height and width, each an integer >= 1, or null, got [8]
        network=mlp network.hidden=[16.5] -> hidden must be a list, each an integer >= 1, got [16.5]
        network=mlp network.layer_norm=no -> layer_norm must be true or false, got 'no'
        network=mlp network.dropout=1 -> dropout must be in [0, 1), got 1
        network=mlp network.activation=swish -> activation must be one of relu, tanh, sigmoid, leaky_relu, gelu, silu, step, identity; got
        network=cnn network.pool=null -> pool must be one of max, average; got None
        network=cnn1d network.kernels=[5,3] -> kernels must be as many as channels, got (5, 3)
        network=bag -> inputs of bag-32 must be symbols, or channels along time, got (1, 8, 8)
        network=gru network.hidden=[6] -> hidden must be an integer >= 1, got [6]
        network=module network.factory=7 -> factory must be package.module:function, or a class, got 7
        network=module network.factory=os:system -> factory must be in beyond, methods, tasks, analysis or a
        network=module network.factory=methods:nope -> factory must be package.module.name, got 'methods:nope'
        """
    ),
    "optimizer": cases(
        """
        optimizer=sgd optimizer.nesterov=no -> nesterov must be true or false, got 'no'
        optimizer=sgd optimizer.nesterov=true -> momentum must be > 0 with nesterov, got 0.0
        optimizer=sgd optimizer.momentum=1 -> momentum must be in [0, 1), got 1
        optimizer=adam optimizer.learning_rate=-0.1 -> learning_rate must be > 0, got -0.1
        optimizer=adam optimizer.learning_rate=fast -> learning_rate must be a number > 0, got 'fast'
        optimizer=adam optimizer.learning_rate=inf -> learning_rate must be finite and > 0, got inf
        optimizer=adam optimizer.beta1=null -> beta1 must be a number in [0, 1), got None
        optimizer=sgd optimizer.learning_rate=[0.1] -> learning_rate must be one number, or one for each of 10 rep
        -m optimizer=sgd optimizer.learning_rate=[0.1,0.2] seeds=2,3 -> learning_rate must be one number, or one
        method.optimizer.learning_rate=[] -> learning_rate must be > 0, got []
        optimizer=adamw optimizer.weight_decay=true -> weight_decay must be a number >= 0, got True
        optimizer=sgd method.optimizer.beta1=0.5 -> method.optimizer must be as the method has it where optimizer replaces it; optimizer...
        -m optimizer=default,sgd method.optimizer.beta1=0.5 -> method.optimizer must be as the method has it where optimizer...
        -m optimizer=glob(x*) -> a pattern must match a choice, got optimizer=glob(x*)
        ~optimizer -> argument must be setting=value, got '~optimizer'
        method.optimizer.epsilon=0 -> epsilon must be > 0, got 0
        """
    ),
    "selection": cases(
        """
        method=genetic selection=truncation selection.n_parents=65 -> n_parents must be <= population_size (64), got 65
        method=genetic selection=nsga2 selection.n_parents=2.5 -> n_parents must be an integer >= 1, got 2.5
        method=genetic selection=nsga2 selection.second_objective=age -> second_objective must be one of weight_norm, ...
        method=genetic method.selection.size=0 -> size must be an integer >= 1, got 0
        method=genetic method.selection=truncation -> method.selection must be chosen by selection=NAME, of default, nsga2, tournament, truncation; got 'truncation'
        selection=nsga2 -> selection must be default for method backprop, which has none to replace
        """
    ),
    "crossover": cases(
        """
        method=genetic crossover=two_point crossover.rate=2 -> rate must be in [0, 1], got 2
        method=genetic crossover=three_point -> unknown crossover 'three_point'; known: default, none, two_point, uniform
        """
    ),
    "mutation": cases(
        """
        method=genetic mutation=sparse mutation.rate=1 -> rate must be in (0, 1), got 1
        method=genetic mutation=safe mutation.derivatives=max -> derivatives must be one of sum, abs; got 'max'
        method=genetic method.mutation.decay=0 -> decay must be in (0, 1], got 0
        method=genetic method.mutation=null -> mutation must be a Mutation, got None
        """
    ),
    "baseline": cases(
        """
        method=reinforce baseline.decay=0.5 -> unknown key 'baseline.decay' of baseline default; known: none; it is a key of ...
        method=reinforce baseline=running_mean baseline.decay=1 -> decay must be in [0, 1), got 1
        method=reinforce baseline=leave_one_out -> n_actions must be >= 2 with baseline leave_one_out, got 1
        method=spiking_stdp method.n_trials=1 -> n_trials must be >= 2 with baseline leave_one_out, got 1
        method=ppo method.baseline_decay=0.9 -> unknown key 'method.baseline_decay' of method ppo; known: ...
        baseline=none -> baseline must be default for method backprop, which has none to replace
        """
    ),
    "plasticity": cases(
        """
        method=spiking_stdp method.plasticity.plus_decay=2 -> plus_decay must be in [0, 1], got 2
        method=spiking_stdp plasticity=oja -> unknown plasticity 'oja'; known: default, likelihood, window
        method=spiking_stdp method.neurons.n_steps=0 -> n_steps must be an integer >= 1, got 0
        method=spiking_stdp method.rule=likelihood -> unknown key 'method.rule' of method spiking_stdp; known: ...
        """
    ),
    "budget": cases(
        """
        budget.epochs=true -> budget.epochs must be a number > 0, got True
        budget.epochs=0 -> budget.epochs must be > 0, got 0
        budget.epochs=nan -> budget.epochs must be > 0, got nan
        budget.epochs=null -> budget must be set in exactly one of ...
        budget=flops budget.flops=inf -> budget.flops must be finite and > 0, got inf
        budget=steps budget.steps=1.5 -> budget.steps must be a whole number > 0, got 1.5
        budget=steps budget.steps=false -> budget.steps must be a number > 0, got False
        budget=steps budget.steps=-1 -> budget.steps must be > 0, got -1
        budget=seconds budget.seconds=inf -> budget.seconds must be finite and > 0, got inf
        budget=examples budget.examples=nan -> budget.examples must be > 0, got nan
        budget=steps budget.steps=ten -> budget.steps must be a number > 0, got 'ten'
        +budget.dollars=3 -> budget must be one of epochs, examples, flops, rewards, steps, seconds; got 'dollars'
        """
    ),
    "run": cases(
        """
        seeds=2.0 -> seeds must be a count in [1, 2^20] or a list of distinct seeds in [0, 2^63), got 2.0
        seeds=null -> seeds must be a count in [1, 2^20]
        seeds=true -> seeds must be a count in [1, 2^20]
        seeds=[0,9223372036854775808] -> seeds must be a count in [1, 2^20]
        threads=0 -> threads must be an integer in [1, ...
        threads=1.5 -> threads must be an integer in [1, ...
        threads=null -> threads must be an integer in [1, ...
        threads=1000000 -> threads must be an integer in [1, ...
        time_limit=0 -> time_limit must be > 0, or null, got 0
        time_limit=abc -> time_limit must be a number > 0, or null, got 'abc'
        save_every=null -> save_every must be a number >= 0, got None
        method=maml test_also=3 -> test_also must be settings, each with a list of values, or null, got 3
        method=maml 'test_also={n_adaptation_steps:3}' -> test_also must be settings, each with a list of values
        method=maml 'test_also={n_adaptation_steps:[1,-3]}' -> n_adaptation_steps must be an integer >= 0, got -3
        method=maml 'test_also={n_adaptation_steps:[1,1]}' -> test_also.n_adaptation_steps must be a list of distinct values, got [1, 1]
        method=maml 'test_also={n_inner_steps:[3]}' -> test_also must be of settings that only a prediction of maml uses (n_adaptation_steps), got 'n_inner_steps'
        'test_also={batch_size:[3]}' -> test_also must be of settings that only a prediction of backprop uses (none), ...
        =3 -> argument must be setting=value, got '=3'
        -m ~seeds -> argument must be setting=value, got '~seeds'
        -m method=constant hydra.sweeper.publish=analysis.report.x -> hydra.sweeper.publish must be package.module.name, ...
        start.method.batch_size=64 -> start.source must be the name of a related task, or default, where another...
        study_name=7 -> study_name must be text that is not empty, got 7
        study_name=../elsewhere -> study_name must be a folder below runs, got '../elsewhere'
        study_name=/tmp/elsewhere -> study_name must be a folder below runs, got '/tmp/elsewhere'
        study_name=. -> study_name must be a folder below runs, got '.'
        study_name=a/ -> study_name must be a folder below runs, got 'a/'
        study_name=a/../b -> study_name must be a folder below runs, got 'a/../b'
        -m study_name=.. -> study_name must be a folder below runs, got '..'
        """
    ),
    "code": [  # of a stranger's YAML: never called
        ("task._target_=os.system", STRANGE),
        ("'+task.x={_target_: os.system, command: touch called}'", STRANGE),
        ("method._target_=subprocess.Popen", STRANGE),
        ("method.optimizer._target_=shutil.rmtree", STRANGE),
        ("network=mlp network._target_=beyond.run.cell.os.system", "_target_ must be "),
        ("optimizer=sgd optimizer._target_=builtins.exec", STRANGE),
        (
            "task._target_=methods.backprop.Backprop",
            "_target_ must be a task, got 'methods.backprop.Backprop'",
        ),
        (
            "-m hydra.sweeper.publish=shutil.rmtree",
            "hydra.sweeper.publish must be in beyond, methods, ",
        ),
    ],
}
LINES = [(line, message) for cases in CASES.values() for line, message in cases]


def arguments(line):
    """Split at spaces, except those within quotes."""
    parts = line.split("'")
    return [*parts[0].split(), *parts[1:2], *"".join(parts[2:]).split()]


@pytest.mark.parametrize(("line", "message"), LINES, ids=[line for line, _ in LINES])
def test_a_bad_setting_is_one_line_and_nothing_is_written(line, message, beyond, tmp_path):
    status, told, shown = beyond(*arguments(line), f"runs={tmp_path / 'runs'}")
    assert told.startswith(f"beyond: {message}")
    assert (status, told.count("\n"), shown) == (1, 1, "")
    assert not list(tmp_path.iterdir())


def test_every_group_has_its_cases():
    assert len(LINES) >= 40
    assert {"method", "task", "network", "budget", "run", *PARTS} <= set(CASES)


@pytest.mark.parametrize(
    "line", ["method.batch_size=32.5", "'+task.x={_target_: os.system, command: touch called}'"]
)
def test_the_command_ends_with_status_1(line, tmp_path):
    command = [sys.executable, "-m", "beyond.run.main", *arguments(line), "runs=elsewhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert not list(tmp_path.iterdir())
