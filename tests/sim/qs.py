import micropython, sys
def install(a, commands):
    def q(*_):
        micropython.qstr_info(1) if a=="1" else micropython.qstr_info()
        print("end", 1)
    commands["qstr\n"]=q
