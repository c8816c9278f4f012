"""`torch.nn.Module`s prepared for learners.

`checks` verifies that a module can be trained on devices, `functional` calls it as a pure function of its parameters,
and `losses` defines losses per row. `features` returns the input of the last linear layer, `standardised` scales inputs
and targets, `named_inputs` unpacks rows with several inputs, and `output_shape` reshapes outputs. `parameter_reads` and
`table_lookups` find out how a loss uses each parameter. `repeatable` checks that calls agree.
"""
