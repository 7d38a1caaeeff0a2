"""Structural schemas: compiled once, then every object is pruned, defaulted and validated in one pass in Rust."""

from .compiled import CompiledSchema, SchemaInvalid, compile_schema
from .structural import check_structural

__all__ = ["CompiledSchema", "SchemaInvalid", "check_structural", "compile_schema"]
