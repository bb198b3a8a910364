@echo off
rem Starts desalink from this folder. No network is needed.
setlocal
chcp 65001 >nul
set "PROGRAM=%~dp0program"
set "OWN=%LOCALAPPDATA%\desalink\python"

rem The Python of the stick, checked and unpacked once.
for %%A in ("%PROGRAM%\python\windows-x64-*.tar.gz") do (
    if not exist "%OWN%\%%~nA\ready" (
        certutil -hashfile "%%~A" SHA256 | findstr /i /g:"%%~A.sha256" >nul || goto damaged
        if exist "%OWN%\%%~nA" rmdir /s /q "%OWN%\%%~nA"
        mkdir "%OWN%\%%~nA"
        tar -xf "%%~A" -C "%OWN%\%%~nA" || goto failed
        type nul >"%OWN%\%%~nA\ready"
    )
    set "PYTHON="%OWN%\%%~nA\python\python.exe""
    goto found
)

set "FITS=import sys; sys.exit(str(sys.version_info[0]) + '.' + str(sys.version_info[1]) not in open(sys.argv[1]).read().split())"
for %%P in ("py -3.13" "py -3.12" "py -3.11" "python") do (
    %%~P -c "%FITS%" "%PROGRAM%\pythons.txt" >nul 2>&1 && (
        set "PYTHON=%%~P"
        goto found
    )
)
echo Laptop ini tidak punya Python yang cocok; minta stik dengan Python dari kantor.
echo This laptop has no Python that fits; ask the office for a stick with Python.
goto failed

:damaged
echo Python di stik rusak; minta stik baru dari kantor.
echo The stick's Python is damaged; ask the office for a new stick.
goto failed

:found
%PYTHON% "%PROGRAM%\start.py" windows-x64 %*
if not errorlevel 1 exit /b 0
if not "%~1"=="" exit /b 1

:failed
pause
exit /b 1
