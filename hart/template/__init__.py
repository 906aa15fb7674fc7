"""Handlebars as Habitat's plans use it: lexer, parser, compiler, helpers. Pure."""
