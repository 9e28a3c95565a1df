"""Reports: tables for the terminal, figures for paper."""
