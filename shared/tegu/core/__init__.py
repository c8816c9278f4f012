"""What device and server must agree on. Depends on numpy (and safetensors) alone.

`batch` a user's rows; `tree` named parameters; `spec` what a model takes and gives; `episode` support and query;
`manifest` and `bundle` the `.tegu` file; `signing` its signature; `precision` float32 in fewer bytes; `stored_meta`
where the file uses it; `errors` everything that is raised.
"""
