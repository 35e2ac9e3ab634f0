"""Every wrong command line gets one clear line, exit code 2, and leaves nothing behind."""

from pathlib import Path

import pytest

from gancli.cli.explain import out_of_memory

WRONG = [
    # (command line, what the line must say)
    ("tran", "did you mean 'train'?"),
    ("train modle=dcgan", "modle: no such key; did you mean 'model'?"),
    ("train penalty=[r1,driftt]", "penalty=driftt: no such option; did you mean 'drift'?"),
    ("train model=dcgna", "model=dcgna: no such option; did you mean 'dcgan'?"),
    ("train -m model=dcgan,dcgna", "model=dcgna: no such option"),
    ("train optimizer.lrr=1", "optimizer.lrr: no such key; did you mean 'lr'?"),
    ("train +optimizer.lrr=1", "optimizer.lrr: no such key; did you mean 'lr'?"),
    ("train model.wdith=3", "did you mean 'width'?"),
    ("train +model.spec=3", "model.spec: no such key"),
    ("train +data.fliip=true", "data.fliip: no such key; did you mean 'flip'?"),
    ("train checkpoint.evry=5", "checkpoint.evry: no such key; did you mean 'every'?"),
    ("train +checkpoint.evry=5", "checkpoint.evry: no such key; did you mean 'every'?"),
    ("train +foo=1", "foo: no such key"),
    ("train model=vqvae loss.samples=5", "loss.samples: no such key (none are allowed)"),
    ("train a.b.c=1", "a: no such key"),
    ("train ~seed", "~seed: seed cannot be removed"),
    ("train ~optimizer", "~optimizer: optimizer cannot be removed"),
    ("train ~checkpoint.every", "checkpoint.every: "),
    ("train ~data._target_", "data has no _target_"),
    ("train +model=mlp_gan", "model is already chosen"),
    ("train optimizer@foo=adam", "optimizer@foo: no such key or group"),
    ("train optimizer=null", "a group needs the name of one of its options"),
    ("train data=[1]", "a group needs the name of an option, or a list of names"),
    ("train model=[dcgan,3]", "a group needs the name of an option, or a list of names"),
    ("train penalty=[{a:1}]", "a group needs the name of an option, or a list of names"),
    ("train runtime=gpu", "runtime=gpu: no such option"),
    ("train runtime.precision=fp8", "runtime.precision=fp8: expected one of auto, fp32, bf16"),
    ("train images=abc", "images: expected a number of images such as 60000, 200k, 2M or 1e6, got 'abc'"),
    ("train images=-5", "images: expected a number of images"),
    ("train images=1.5", "images: expected a number of images"),
    ("train images=true", "images: expected a number of images"),
    ("train images=0", "images=0: must be 1 or more"),
    ("train checkpoint.every=0", "checkpoint.every=0: must be 1 or more"),
    ("train log.every=1x", "log.every: expected a number of images"),
    ("train epochs=abc", "epochs=abc: expected a whole number"),
    ("train seed=1.5", "seed=1.5: expected a whole number"),
    ("train seed=-1", "seed=-1: must be from 0"),
    ("train clip=abc", "clip=abc: expected a number"),
    ("train clip=0", "clip=null turns clipping off"),
    ("train batch_size=0", "batch_size=0: must be from 1 to 1,048,576"),
    ("train batch_size=[1]", "batch_size=[1]: expected a whole number"),
    ("train batch_size=64 accumulate=3", "accumulate=3 must divide batch_size=64"),
    ("train eval.every=1k eval.best=kid", "eval.best=kid is not a single value of eval.metrics=[fid,is]"),
    ("train eval.split=tset", "eval.split=tset: expected one of train, validation, test; did you mean 'test'?"),
    ("train optimizer.lr=abc", "optimizer.lr: expected float, got 'abc'"),
    ("train optimizer.lr=true", "optimizer.lr: expected float, got True"),
    ("train optimizer.betas=[0.5]", "optimizer.betas: expected tuple[float | Tensor, float | Tensor], got [0.5]"),
    ("train model.width=1.5", "model.width: expected int, got 1.5"),
    ("train schedule.warmup=20x", "schedule.warmup: expected a number of images"),
    ("train optimizer.overrides.generator.lrr=1", "optimizer.overrides.generator.lrr: no such key; did you mean 'lr'?"),
    ("train optimizer.overrides.discriminator.lr=x", "optimizer.overrides.discriminator.lr: expected float, got 'x'"),
    ("train optimizer.overrides.discriminator=4", "optimizer.overrides.discriminator=4: name the argument"),
    ("train model._target_=gancli.models.dcgan.DCGEN", "no class 'DCGEN' in 'gancli.models.dcgan'; did you mean"),
    ("train model._target_=mypkg.Net", "model._target_=mypkg.Net is refused"),
    ("train model._target_=mypkg.Net trust=[mypkg]", "no module 'mypkg'"),
    ("train trust=[nowhere.nets]", "trust: no module 'nowhere'; install it, or put its folder on PYTHONPATH"),
    ("eval images=. data=fake trust=[torch-fidelity]", "trust: no module 'torch-fidelity'; did you mean"),
    ("train model._target_=os.system", "model._target_=os.system is refused"),
    ("train seed=1,2", "several values; add -m to run each"),
    ("train seed=${nope}", "seed: Interpolation key 'nope' not found"),
    ("train seed=${oc.env:NO_SUCH_VARIABLE}", "'NO_SUCH_VARIABLE' not found"),
    ("train -m seed=range(1,", "'seed=range(1,' cannot be parsed"),
    ("train -m seed=foo(3)", "Unknown function 'foo'"),
    ("train data.root='/tmp/a", "cannot be parsed"),
    ("train dcgan", "'dcgan' is not a setting; did you mean model=dcgan?"),
    ("train dirac_gan", "did you mean experiment=lecture/dirac_gan?"),
    ("train vary", "'vary' is not a setting; write settings as key=value, such as data=mnist"),
    ("train model = dcgan", "'model' is not a setting; write it without blanks: model=dcgan"),
    ("train model =dcgan", "write it without blanks: model=dcgan"),
    ("complete /tmp", "'/tmp' is not a setting; to name a run, write ckpt=/tmp"),
    ("train latest", "to name a run, write resume=latest"),
    ("sample ckpt=", "ckpt= is empty; name a path, or omit it"),
    ("train data=folder data.root=", "data.root= is empty"),
    ("train model=", "model= is empty; name one of its options: gancli help model"),
    ("train model=DCGAN", "model=DCGAN: no such option; did you mean 'dcgan'?"),
    ("train model=[dcgan]", "each of its groups needs the name of one option, as in model=dcgan"),
    ("train penalty=[r1", "'penalty=[r1' cannot be parsed: it has a [ without its ]"),
    ("train penalty=r1]", "it has a ] without its ["),
    ("train -m model=dcgan,", "'model=dcgan,' cannot be parsed: it ends with a comma; write model=dcgan"),
    ("train penalty.weight=3", "the keys of penalty=dragan are those of loss.penalties.dragan, such as"),
    ("train view=grid", "view: no such key or group of this command; the group is: What sample draws"),
    ("train lr=0.1", "lr: no such key; did you mean optimizer.lr?"),
    ("train lecture=dirac_gan", "write experiment=lecture/dirac_gan"),
    ("train eval.metrics=[fdi]", "no metric 'fdi'; did you mean 'fid'?"),
    ("help lecture", "no group 'lecture'; did you mean 'experiment/lecture'?"),
    ("train =1", "'=1' is not a setting"),
    ("train --epochs 5", "unknown option --epochs; write settings as epochs=value, without dashes"),
    ("train --multrun", "did you mean '--multirun'?"),
    ("train --cfg", "--cfg needs a value"),
    ("train --cfg jobs", "--cfg jobs: expected one of job, hydra, all"),
    ("train --cfg job -p nope", "package 'nope' not found in config"),
    ("train --resolve", "--resolve flag can only be used"),
    ("train --cfg hydra -m", "-m --cfg hydra: of a sweep's jobs only --cfg job is shown"),
    ("train --config-dir /no/such", "--config-dir /no/such: no such folder"),
    ("train -cn nope", "no config named 'nope'"),
    ("train experiment=nope", "experiment=nope: no such option"),
    ("train --config-path /no/such", "--config-path /no/such: no such folder"),
    ("train -m seed=range(0)", "the sweep has no jobs: nothing is in seed=range(0)"),
    ("train -m data=glob(zz*) seed=1", "the sweep has no jobs: nothing is in data=glob(zz*)"),
    ("train data=digits +data=mnist", "data is given twice, data=digits and +data=mnist: omit one of them"),
    ("train penalty=[drift] +penalty=r1", "penalty is given twice"),
    ("train +seed=3 +seed=4", "seed is given twice"),
    ("train epochs=2 images=5k", "images=5k: epochs=2 takes precedence"),
    ("train experiment=lecture/dirac_gan checkpoint.keep=5", "checkpoint.keep=5: a lecture draws one figure"),
    ("eval images=x data=digits repeats=2", "repeats=2: it applies to checkpoints, not to images=..."),
    ("eval images=x data=digits ema=false", "ema=false: it applies to checkpoints"),
    ("eval images=https://example.com/x.zip data=digits", "this reads files, not web addresses"),
    ("train data=folder data.root=https://example.com/x", "data.root=https://example.com/x: this reads files"),
    ("report https://example.com/x", "https://example.com/x: this reads files, not web addresses"),
    ("train hydra/launcher=rq", "hydra/launcher=rq is not installed; run:\npip install hydra-rq-launcher"),
    ("train hydra/sweeper=optuna", "run:\npip install hydra-optuna-sweeper"),
    ("train hydra/launcher=jobli", "hydra/launcher=jobli: no such option"),
    ("train resume=no/such/run", "no/such/run"),
    ("train resume=latest", "has a checkpoint"),
    ("train -m resume=x seed=1,2", "resume= continues one run"),
    ("eval", "ckpt is missing; add ckpt=..."),
    ("eval ckpt=latest", "has a checkpoint"),
    ("eval ckpt=no/such.pt", "no/such.pt"),
    ("eval split=foo ckpt=x", ""),
    ("sample", "ckpt is missing; add ckpt=..."),
    ("sample ckpt=no/such.pt", "no/such.pt"),
]


@pytest.mark.parametrize("line, says", WRONG, ids=[line for line, _ in WRONG])
def test_one_line(cli, tmp_path: Path, line: str, says: str) -> None:
    answer = cli(*line.split())
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.strip().splitlines()) == 1 + says.count("\n")  # a command to copy has a line of its own
    assert answer.out == ""
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert not list(tmp_path.glob("outputs/*/*"))


def test_several_settings_in_one_word(cli) -> None:
    told = cli("train", "model=dcgan data=digits").err
    assert told.endswith("cannot be parsed: these are several settings in one word; quote each on its own\n")


def test_conf_variable_that_names_no_folder(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCLI_CONF", "/no/such/folder")
    answer = cli("train", "--cfg", "job")
    assert (answer.code, answer.err) == (2, "gancli: GANCLI_CONF names /no/such/folder, which is not a folder\n")


def test_reading_a_config_with_a_wrong_value_names_the_key(cli, tmp_path: Path) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "bad.yaml").write_text("# @package _global_\nbatch_sise: 3\n")
    answer = cli("train", "experiment=bad")
    assert answer.code == 2
    assert "batch_sise" in answer.err and "batch_size" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_a_refused_run_takes_no_folder_away_in_which_the_user_stands(cli, tmp_path):
    answer = cli("train", "data=fake", "loss=nll", "hydra.run.dir=run", "runtime=cpu")
    assert answer.code == 2 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "batch, parts, says",
    [
        (64, None, "with batch_size=64; try batch_size=32"),
        (64, 1, "with batch_size=64; try batch_size=32, or accumulate=2 for the same updates"),
        (100, 4, "with batch_size=100 accumulate=4; try accumulate=10 for the same updates"),  # neither 50 / 4 nor 8
        (64, 32, "with batch_size=64 accumulate=32; try batch_size=32, or accumulate=64 for the same updates"),
        (64, 64, "with 1 image at a time; use a smaller model or data.size"),
        (7, 1, "with batch_size=7; try batch_size=3, or accumulate=7 for the same updates"),
        (1, 1, "; use a smaller model or data.size"),
    ],
)
def test_what_is_proposed_when_memory_is_short_can_be_typed(batch: int, parts: int | None, says: str) -> None:
    given = {"batch_size": batch} | ({} if parts is None else {"accumulate": parts})
    assert out_of_memory(MemoryError(), given) == f"out of memory{says if says[0] == ';' else ' ' + says}"


def test_an_argument_that_the_yaml_leaves_out_is_added(cli, package, tmp_path: Path) -> None:
    """As of a loss of the user's own, which passes `repeat` on to its base and need not name it in its yaml."""
    package("own", warm="""
        from gancli.losses.adversarial import Hinge

        class Warm(Hinge):
            def __init__(self, temperature: float = 2.0, **kwargs) -> None:
                super().__init__(**kwargs)
        """)  # fmt: skip
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "warm.yaml").write_text("_target_: own.warm.Warm\ntemperature: 2.0\n")
    words = "train loss=warm trust=[own] data=fake --cfg job".split()
    answer = cli(*words, "loss.repeat=2")
    assert answer.code == 2 and answer.err.endswith("so it is added, not set: write +loss.repeat=...\n")
    assert cli(*words, "+loss.repeat=2").code == 0
    assert "no such key; did you mean 'temperature'" in cli(*words, "loss.temperatur=2").err


def test_a_folder_that_cannot_be_made_is_named_in_one_line(cli, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    for place in ("taken", "taken/run", "/proc/no", "x" * 300):
        answer = cli("train", "data=fake", "runtime=cpu", f"hydra.run.dir={place}")
        assert answer.code == 2 and answer.err.count("\n") == 1 and place in answer.err
