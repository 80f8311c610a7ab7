"""The paper's tables and figures, rebuilt from training runs that are kept in a ledger."""
