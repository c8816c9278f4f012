"""What is measured: data, model and training, the same for Tegu and for every peer."""
