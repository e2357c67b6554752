"""The output folder as a proved Hub repository: bundle, proof, card, push."""
