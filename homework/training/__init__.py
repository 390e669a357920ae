"""Fine-tuning: from the pairs of a split to a LoRA adapter."""
