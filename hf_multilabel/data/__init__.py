"""Texts and their labels: from files or a Hub dataset to sparse label lists, splits, checks and batches.

    source -> sources.py: a file, a folder, a Hub id; xmc.py: the XMC repository format   -> one Table a file
    Table  -> delimited.py, records.py, columnar.py: batches of columns, each row with its place in its file
    batch  -> columns.py: id and text; label_columns.py: labels as ids of a Vocabulary    -> one Rows a split
    Rows   -> splitting.py: missing splits; checks.py: duplicates, unseen labels, counts
    all    -> loading.py: MultiLabelData with its LabelSpace (labels.py)
    train  -> remedies.py: new texts (augmentation.py), rows drawn again or left out (balancing.py, measured by
              imbalance.py), synthetic features for the probe of the head (synthesis.py)
    later  -> batching.py: token ids and padded batches

Findings D1xx are about files and rows, L1xx about labels, D301 about the Hub; findings.py collects them.
"""
