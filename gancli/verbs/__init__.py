"""The verbs of the command line, one file or folder each; to add one, write it and list it here."""

from gancli.verbs.base import Verb
from gancli.verbs.complete.verb import VERB as COMPLETE
from gancli.verbs.doctor import VERB as DOCTOR
from gancli.verbs.evaluate.verb import VERB as EVAL
from gancli.verbs.report.verb import VERB as REPORT
from gancli.verbs.sample.verb import VERB as SAMPLE
from gancli.verbs.train import VERB as TRAIN

# In the order in which the help lists them.
VERBS: dict[str, Verb] = {verb.name: verb for verb in (TRAIN, EVAL, SAMPLE, COMPLETE, REPORT, DOCTOR)}
