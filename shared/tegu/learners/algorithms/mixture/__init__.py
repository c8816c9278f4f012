"""Several initialisations in one bundle, for users of several kinds."""
