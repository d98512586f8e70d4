"""Charts that answer the pointer, for quantities of which a picture shows less than one wants to know."""
