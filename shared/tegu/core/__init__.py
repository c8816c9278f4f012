"""What device and server share. Depends on numpy and safetensors alone.

data         rows of users, batches, parameter trees, and the spec of a model's inputs and targets
sampling     reproducible draws of cohorts, of support and query, and of trials for evaluation
bundle       the `.tegu` file with its manifest and signature
compression  parameters and updates in fewer bytes than float32
calibration  how the server chooses a bundle's schedule from sums of users' metrics
metrics      what predictions are evaluated by
errors       everything that Tegu raises
"""
