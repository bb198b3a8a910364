"""What runs on the board: one script for each part of the check.

Each leaves its results in `r`, a dictionary of numbers and short texts. Nothing secret gets there:
no address of the chip, no name of a network, no key. What a board lacks, it leaves out.
"""

from __future__ import annotations

from host_tools.field.provision.payload import CONFIG

# An open port of the board's own and a closed one: lwIP's loopback needs no network.
OPEN_PORT = 7007
CLOSED_PORT = 7008

_BEGIN = """\
import gc,sys,time
r={}
def ms(t): return time.ticks_diff(time.ticks_ms(),t)
def idf():
 try: import esp32
 except ImportError: return
 h=esp32.idf_heap_info(esp32.HEAP_DATA)
 return [sum(x[1] for x in h),max(x[2] for x in h)]
def radio():
 try: import network
 except ImportError: return
 w=network.WLAN(network.STA_IF)
 w.active(True)
 return w
"""

_END = "\nimport json\nprint('ANSWER',json.dumps(r))"

_BOARD = """
import os
r['platform']=sys.platform
r['version']=sys.version
r['machine']=getattr(sys.implementation,'_machine','')
r['mpy']=getattr(sys.implementation,'_mpy',0)
try:
 import machine
 r['reset_cause']=machine.reset_cause()
 r['cpu_mhz']=machine.freq()//1000000
except (ImportError,AttributeError): pass
try:
 import vfs
 r['romfs']=hasattr(vfs,'VfsRom')
except ImportError: pass
try:
 import esp
 r['flash_bytes']=esp.flash_size()
except ImportError: pass
try:
 import esp32
 r['partitions']=[list(p.info()[:5]) for k in (0,1) for p in esp32.Partition.find(k)]
except (ImportError,AttributeError): pass
"""

# The heap of an ESP32 grows into ESP-IDF's: what is taken here comes back at the soft reset.
_MEMORY = """
gc.collect()
r['heap_free']=gc.mem_free()
r['heap_used']=gc.mem_alloc()
r['idf_free']=idf()
w=radio()
if w:
 time.sleep_ms(500)
 gc.collect()
 r['idf_free_radio']=idf()
k=[None]*256
n=0
try:
 while n<256:
  k[n]=bytearray(4096)
  n+=1
except MemoryError: pass
r['heap_most']=gc.mem_alloc()
r['idf_free_full']=idf()
k=None
"""

_CLOCK = """
r['year']=time.gmtime()[0]
r['epoch']=time.gmtime(0)[0]
try:
 import machine
 m=machine.RTC().memory
 r['rtc_bytes']=len(m())
 if not m(): m(b'desalink check')
except (ImportError,AttributeError): pass
"""
_CLOCK_AGAIN = """
try:
 import machine
 m=machine.RTC().memory
 r['rtc_kept']=len(m())
 if m()==b'desalink check': m(b'')
except (ImportError,AttributeError): pass
"""
TICKS = "import time\nprint(time.ticks_ms())"
TICKS_PERIOD = 1 << 30

_FLASH = """
import os
b=bytes(range(256))*16
for d in ('','/device/journal'):
 p=d+'/check.part'
 try:
  s=os.statvfs(d or '/')
  t=time.ticks_ms()
  with open(p,'wb') as f:
   for i in range(4):
    f.write(b)
    f.flush()
  w=ms(t)
  t=time.ticks_ms()
  same=True
  with open(p,'rb') as f:
   for i in range(4): same=f.read(4096)==b and same
  r[d or '/']={'write_ms':w,'read_ms':ms(t),'same':same,'free':s[0]*s[3],'size':s[0]*s[2]}
  os.remove(p)
 except OSError as e: r[d or '/']={'error':e.errno}
"""

_RADIO = """
w=radio()
if w:
 t=time.ticks_ms()
 f=w.scan()
 r['scan_ms']=ms(t)
 r['networks']=sorted([[x[3],x[2]] for x in f],reverse=True)[:10]
"""

# The proof that enrols a device takes its public key and a signature.
_SIGNATURE = f"""
import os
try:
 os.stat({CONFIG!r})
 from agent import start
 t=time.ticks_ms()
 start.enrol({CONFIG!r})
 r['proof_ms']=ms(t)
except (OSError,ImportError): pass
"""

# The rows of tests/esp32/test_lwip.py.
_SOCKETS = f"""
import select,socket
radio()
def call(f,*a):
 try: return f(*a)
 except OSError as e: return 'E%d'%e.errno
def new(k=1,p=0):
 s=socket.socket(2,k,p)
 s.setblocking(False)
 return s
l=socket.socket()
l.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
o={OPEN_PORT}
while True:
 try:
  l.bind(socket.getaddrinfo('127.0.0.1',o)[0][-1])
  break
 except OSError:
  o+=2
  if o>{OPEN_PORT}+200: raise
l.listen(4)
for n,port in (('open',o),('closed',{CLOSED_PORT})):
 a=socket.getaddrinfo('127.0.0.1',port)[0][-1]
 def made():
  s=new()
  q['connect']=call(s.connect,a)
  time.sleep_ms(300)
  return s
 q=r[n]={{}}
 s=made()
 p=select.poll()
 p.register(s,4)
 f=p.poll(0)
 q['poll out']=f[0][1] if f else 0
 q['connect again']=call(s.connect,a)
 q['send nothing']=call(s.send,b'')
 s.close()
 s=made()
 q['recv']=call(s.recv,1)
 s.close()
 s=made()
 q['send']=call(s.send,b'x')
 s.close()
try:
 s=new(3,1)
 s.sendto(b'\\x08\\0\\xf7\\xff\\0\\0\\0\\0',socket.getaddrinfo('127.0.0.1',1)[0][-1])
 time.sleep_ms(300)
 d=s.recv(128)
 # The loopback shows the question, too.
 if d[20]==8: d=s.recv(128)
 r['raw ping']=[len(d),d[0],d[20]]
 s.close()
except OSError as e: r['raw ping']='E%d'%e.errno
k=[]
while len(k)<32:
 try: k.append(socket.socket())
 except OSError as e:
  r['sockets']=[len(k)+2,'E%d'%e.errno]
  break
for s in k: s.close()
l.close()
"""

_NETWORK = f"""
import os
try:
 os.stat({CONFIG!r})
 from agent import start
except (OSError,ImportError): start=None
if start:
 r['idf_free']=idf()
 t=time.ticks_ms()
 try: r['result']=start.network({CONFIG!r},UNIX)[0]
 except SystemExit: r['result']='the configuration is refused'
 r['ms']=ms(t)
 r['idf_free_after']=idf()
 import asyncio
 try: from agent import core as probes
 except ImportError: from agent.link import probes
 g='127.0.0.1'
 try:
  import network
  w=network.WLAN(network.STA_IF)
  g=w.ifconfig()[2]
  r['signal']=w.status('rssi')
 except (ImportError,OSError): pass
 for n,t in (('gateway',g),('gateway, port 53',g+':53'),('1.1.1.1','1.1.1.1'),
  ('8.8.8.8','8.8.8.8'),('8.8.8.8, port 53','8.8.8.8:53'),('name server','dns:8.8.8.8')):
  r[n]=[]
  while len(r[n])<3:
   r[n].append(asyncio.run(probes.answer(t,2000,True)))
   if r[n][-1][0] is None: break
"""

# Name, and what runs one after the other, with a soft reset in between.
PARTS = (
    ("board", (_BOARD,)),
    ("memory", (_MEMORY,)),
    ("clock", (_CLOCK, _CLOCK_AGAIN)),
    ("flash", (_FLASH,)),
    ("radio", (_RADIO,)),
    ("signature", (_SIGNATURE,)),
    ("sockets", (_SOCKETS,)),
    ("network", (_NETWORK,)),
)


def whole(part: str, unix: int) -> str:
    """The script of a part. unix: the laptop's time."""
    return _BEGIN + part.replace("UNIX", str(unix)) + _END
