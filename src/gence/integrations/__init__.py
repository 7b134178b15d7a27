"""gence where people already are: each module needs the library it is for, and nobody imports them all."""
