"""Forms of parameters during adaptation.

`copies` numbers the parameters of several initialisations, `dual_linear` keeps linear layers in dual form, `step_sizes`
holds learned step sizes, `table_rows` stores only the changed rows of tables, and `substitute` puts tensors into a
module in place of its parameters.
"""
