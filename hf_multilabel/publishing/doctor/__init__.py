"""What every consumer will do with a model, found out without running its code or loading a pickle.

files          a folder or a Hub repo -> names, sizes, the first bytes of a file
subject        those files -> configuration, labels, tensor shapes, tokenizer; each read once, damage noted
labels, weights, decision, tokenizer, remote_code, safety, manifest, onnx, adapter, card
subject -> symptoms: one check a subject, listed in `CHECKS`
consumers      subject -> what pipeline, TEI, vLLM, transformers.js ... return, listed in `CONSUMERS`
examination    all of them -> a diagnosis
report         a diagnosis -> tables or JSON
"""
