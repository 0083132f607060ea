"""polytask: one BERT-family encoder trained jointly on many sentence-level tasks."""
