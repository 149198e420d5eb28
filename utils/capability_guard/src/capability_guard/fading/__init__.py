"""Turn a fine-tuned model down after the training: at strength 0 it is the base, at 1 as tuned, between them a mixture.

Reading order: ``methods`` (what can be faded exactly, and one sentence for what cannot), ``parts`` and ``adapter_parts`` (the
pairs of numbers that are mixed, of a whole model and of an adapter), ``turning`` (``fade`` itself), ``halves`` and ``strengths``
(one half of the probes chooses, the other reports), ``folder`` (the faded adapter or model on disk).
"""
