"""What a key of the configuration takes, in words; for people who write one."""


def expected(kind, least, most):
    if kind == "slot":
        return 'a slot such as "6403112001-1" (village code, dash, number)'
    if kind == "path":
        return "a path"
    if kind == "object":
        return "an object { ... }"
    form = "a text of %d to %d characters"
    if kind == "int":
        form = "an integer from %d to %d"
    elif kind == "list":
        form = "a list of %d to %d texts"
    return form % (least, most)
