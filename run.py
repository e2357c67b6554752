"""accelerate launch run.py RECIPE [section.key=value ...] [--resume | --overwrite]."""

from hf_multilabel.cli import run

if __name__ == "__main__":
    run()
