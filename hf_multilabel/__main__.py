"""`python -m hf_multilabel` is `hf-multilabel`."""

from hf_multilabel.cli import main

main()
