/** Reads Scala as a notebook's cell is read, and says where it is no Scala. It parses and does nothing else: no names
  * are looked up, nothing is compiled or run.
  *
  * On standard input texts, each a line with its number of bytes and as many bytes of UTF-8. On standard output one
  * line for each: `ok`, or the error's line and what it is. It says `ready` first, and ends when its input does.
  */
package jupyter_trainjob

import java.io.{BufferedOutputStream, DataInputStream, BufferedInputStream, FileDescriptor, FileInputStream}
import java.io.{FileOutputStream, PrintStream}
import java.nio.charset.StandardCharsets.UTF_8
import scala.tools.nsc.{Global, Settings}
import scala.tools.nsc.reporters.{Reporter, StoreReporter}

object Parse {
  private val settings = new Settings(_ => ())
  settings.usejavacp.value = true
  settings.nowarn.value = true

  /** 2.12 makes it from nothing, 2.13 from the settings. */
  private val reporter: StoreReporter = {
    val makers = classOf[StoreReporter].getConstructors.sortBy(-_.getParameterCount)
    val maker = makers.find(_.getParameterTypes.forall(_.isInstance(settings))).get
    maker.newInstance(maker.getParameterTypes.map(_ => settings): _*).asInstanceOf[StoreReporter]
  }
  private val global = new Global(settings, reporter.asInstanceOf[Reporter])
  new global.Run

  private def complaint(text: String): Option[String] = {
    reporter.reset()
    global.newUnitParser(text, "<cell>").parseStats()
    val errors = reporter.infos.filter(_.severity.toString == "ERROR").toList
    errors.headOption.map { error =>
      val line = if (error.pos.isDefined) error.pos.line else 0
      s"$line ${error.msg.replaceAll("\\s+", " ")}"
    }
  }

  /** In a thread with a stack of its own: what is nested deeper than that is the job's to complain of. */
  private def checked(text: String): String = {
    var answer = "ok"
    val work = new Thread(null, () => {
      try complaint(text).foreach(found => answer = found)
      catch { case _: StackOverflowError => () }
    }, "parse", 16L << 20)
    work.start()
    work.join()
    answer
  }

  def main(arguments: Array[String]): Unit = {
    val in = new DataInputStream(new BufferedInputStream(new FileInputStream(FileDescriptor.in)))
    val out = new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)), false, "UTF-8")
    def say(line: String): Unit = { out.print(line + "\n"); out.flush() }
    checked("val warm: Int = 1")
    say("ready")
    var size = number(in)
    while (size >= 0) {
      val bytes = new Array[Byte](size)
      in.readFully(bytes)
      say(checked(new String(bytes, UTF_8)))
      size = number(in)
    }
  }

  /** The number on the next line; -1 at the end. */
  private def number(in: DataInputStream): Int = {
    val digits = Iterator.continually(in.read()).takeWhile(byte => byte >= 0 && byte != '\n').map(_.toChar).mkString
    if (digits.isEmpty) -1 else digits.toInt
  }
}
