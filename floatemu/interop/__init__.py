"""floatemu on the arrays of other libraries; each module is used only where its library is installed."""
