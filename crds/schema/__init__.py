"""The generated schemas. A package only so that they are installed with the rest; read them through `stark.crds.loader`."""
