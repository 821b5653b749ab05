// Runs inside Toree's Scala kernel where variables come in or go out: data frames as frame files, other values as typed
// JSON. docs/architecture.md tells both formats. Where it was not compiled beforehand (interpreter.scala), it is sent when
// it is first asked for: it takes a second to compile.
object _trainjob_data {
  import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}
  import java.nio.charset.StandardCharsets.UTF_8
  import java.nio.file.{Files, Paths, StandardCopyOption}
  import java.time.{Instant, LocalDate, LocalDateTime, OffsetDateTime, ZoneOffset, ZonedDateTime}
  import org.apache.spark.sql.{Dataset, Row}
  import org.apache.spark.sql.types._
  import scala.collection.JavaConverters._
  import scala.tools.nsc.interpreter.IMain
  private val mapper = new ObjectMapper().enable(com.fasterxml.jackson.databind.DeserializationFeature.USE_BIG_INTEGER_FOR_INTS)
  private val toree = kernel.interpreter("Scala").get
  private val main = toree.getClass.getMethod("iMain").invoke(toree).asInstanceOf[IMain]
  private class Refused(text: String) extends Exception(text)
  private def refuse(text: String) = throw new Refused(text)
  def answer(target: String)(what: => String): Unit = {
    val told = try what catch { case problem: Exception => s"""{"failure": ${quoted(said(problem))}}""" }
    write(target, Iterator(told))
  }
  private def said(problem: Throwable) =
    if (problem.isInstanceOf[Refused]) problem.getMessage else problem.toString
  private def write(path: String, lines: Iterator[String]): Long = {
    val partial = Paths.get(path + ".part")
    val out = Files.newBufferedWriter(partial, UTF_8)
    try lines.foreach { line => out.write(line); out.write('\n') } finally out.close()
    val size = Files.size(partial)
    Files.move(partial, Paths.get(path), StandardCopyOption.ATOMIC_MOVE)
    size
  }
  // In
  def receive(path: String, name: String, form: String): String = {
    val text = new String(Files.readAllBytes(Paths.get(path)), UTF_8)
    val (kind, value) = try {
      if (form == "frame") ("org.apache.spark.sql.DataFrame", frame(text))
      else { val found = decoded(mapper.readTree(text)); (typeOf(found), found) }
    } catch { case problem: Exception => refuse(s"the variable '$name' can't be read: ${said(problem)}") }
    main.beQuietDuring { main.bind(name, kind, value) }
    "{}"
  }
  private def decoded(node: JsonNode): Any = node match {
    case _ if node.isNull => None
    case _ if node.isBoolean => node.booleanValue
    case _ if node.isIntegralNumber =>
      val number = node.bigIntegerValue
      if (number.bitLength < 32) number.intValue else if (number.bitLength < 64) number.longValue else BigInt(number)
    case _ if node.isNumber => node.doubleValue
    case _ if node.isTextual => node.textValue
    case _ if node.isArray => widened(node.elements.asScala.map(decoded).toList)
    case _ if !node.has("$type") => fields(node)
    case _ =>
      val inner = node.get("value")
      (node.get("$type").asText, Option(inner).map(_.asText).getOrElse("")) match {
        case ("map", _) => fields(inner)
        case ("float", "NaN") => Double.NaN
        case ("float", "Infinity") => Double.PositiveInfinity
        case ("float", "-Infinity") => Double.NegativeInfinity
        case ("date", text) => LocalDate.parse(text)
        case ("datetime", text) =>
          if (text.matches(".*([Zz]|[+-]\\d\\d:\\d\\d)$")) OffsetDateTime.parse(text) else LocalDateTime.parse(text)
        case (kind, _) => refuse(s"it holds a value of the unknown type '$kind'")
      }
  }
  private def fields(node: JsonNode): Map[String, Any] = {
    val found = node.fields.asScala.map(one => one.getKey -> decoded(one.getValue)).toList
    scala.collection.immutable.ListMap(found.map(_._1).zip(widened(found.map(_._2))): _*)
  }
  // Whole numbers in one list are of one type, as in a literal.
  private def widened(values: List[Any]): List[Any] = {
    val whole = values.forall { case _: Int | _: Long | _: BigInt => true; case _ => false }
    if (!whole) values
    else if (values.exists(_.isInstanceOf[BigInt])) values.map { case one: Int => BigInt(one); case one: Long => BigInt(one); case one => one }
    else if (values.exists(_.isInstanceOf[Long])) values.map { case one: Int => one.toLong; case one => one }
    else values
  }
  private def typeOf(value: Any): String = value match {
    case None => "None.type"
    case _: Boolean => "Boolean"
    case _: Int => "Int"
    case _: Long => "Long"
    case _: BigInt => "BigInt"
    case _: Double => "Double"
    case _: String => "String"
    case _: LocalDate => "java.time.LocalDate"
    case _: LocalDateTime => "java.time.LocalDateTime"
    case _: OffsetDateTime => "java.time.OffsetDateTime"
    case list: List[_] => s"List[${common(list)}]"
    case map: Map[_, _] => s"Map[String, ${common(map.values.toList)}]"
  }
  private def common(values: List[Any]): String = values.map(typeOf).distinct match {
    case List(one) if !one.contains("None") && !one.contains("Any") => one
    case _ => "Any"
  }
  private val MAGIC = "#trainjob-frame "
  private def frame(text: String) = {
    val (first, body) = text.span(_ != '\n')
    if (!first.startsWith(MAGIC)) refuse("it is no frame file")
    val head = mapper.readTree(first.drop(MAGIC.length))
    val columns = head.get("columns").elements.asScala.toArray
    val rows = new java.util.ArrayList[Row]
    val next = new Fields(body.drop(1))
    val readers = columns.map(one => reader(one.get("type").asText, one.get("name").asText))
    for (_ <- 0 until head.get("rows").asInt)
      rows.add(Row.fromSeq(readers.toSeq.map { case (_, read) => val field = next(); if (field == null) null else read(field) }))
    val schema = StructType(columns.zip(readers).map { case (one, (kind, _)) => StructField(one.get("name").asText, kind) })
    kernel.sparkSession.createDataFrame(rows, schema)
  }
  private def reader(kind: String, name: String): (DataType, String => Any) = kind match {
    case "int64" => (LongType, _.toLong)
    case "float64" => (DoubleType, text => text match { case "Inf" => Double.PositiveInfinity; case "-Inf" => Double.NegativeInfinity; case _ => text.toDouble })
    case "bool" => (BooleanType, _ == "true")
    case "string" | "category" => (StringType, text => text)
    case "date" => (DateType, java.sql.Date.valueOf(_))
    case "datetime" => (TimestampType, text => java.sql.Timestamp.from(
      if (text.endsWith("Z")) Instant.parse(text) else LocalDateTime.parse(text).toInstant(ZoneOffset.UTC)))
    case _ => refuse(s"the column '$name' has the type '$kind', unknown here")
  }
  // Field by field; null is a missing one.
  private class Fields(text: String) {
    private var at = 0
    def apply(): String = {
      val begin = at
      if (at < text.length && text.charAt(at) == '"') {
        val found = new StringBuilder
        at += 1
        while (at < text.length && (text.charAt(at) != '"' || text.startsWith("\"\"", at))) {
          if (text.charAt(at) == '"') at += 1
          found.append(text.charAt(at))
          at += 1
        }
        at += 1
        end()
        found.toString
      } else {
        while (at < text.length && text.charAt(at) != ',' && text.charAt(at) != '\n') at += 1
        val found = text.substring(begin, at).stripSuffix("\r")
        end()
        if (found.isEmpty) null else found
      }
    }
    private def end(): Unit = {
      if (at < text.length && text.charAt(at) == '\r') at += 1
      at += 1
    }
  }
  // Out
  def give(name: String, path: String): String = {
    var (size, kind, form, error) = (0L, "", "json", "")
    try main.valueOfTerm(name) match {
      case None => error = s"the code did not set a variable '$name'"
      case Some(value) =>
        kind = if (value == null) "null" else value.getClass.getName
        value match {
          case data: Dataset[_] =>
            form = "frame"
            size = write(path, frameLines(data.toDF))
          case _ => size = write(path, Iterator(encoded(value, name, 0)))
        }
    } catch { case problem: Exception => error = s"'$name' can't be brought back: ${said(problem).take(2000)}" }
    s"""{"name": ${quoted(name)}, "size": $size, "type": ${quoted(kind)}, "python": "", "format": "$form", "error": ${quoted(error)}}"""
  }
  private def encoded(value: Any, where: String, depth: Int): String = value match {
    case _ if depth > 100 => refuse(s"$where is nested more than 100 deep")
    case null | None => "null"
    case Some(one) => encoded(one, where, depth)
    case one: Boolean => one.toString
    case _: Byte | _: Short | _: Int | _: Long | _: BigInt | _: java.math.BigInteger => value.toString
    case one: Float => encoded(one.toDouble, where, depth)
    case one: Double if one.isNaN => tagged("float", "NaN")
    case one: Double if one.isInfinite => tagged("float", if (one > 0) "Infinity" else "-Infinity")
    case one: Double => one.toString
    case one: Char => quoted(one.toString)
    case one: String => quoted(one)
    case one: LocalDate => tagged("date", one.toString)
    case one: java.sql.Date => tagged("date", one.toString)
    case one: LocalDateTime => tagged("datetime", moment(one))
    case one: OffsetDateTime => tagged("datetime", moment(one.toLocalDateTime) + one.getOffset.getId)
    case one: ZonedDateTime => encoded(one.toOffsetDateTime, where, depth)
    case one: Instant => encoded(one.atOffset(ZoneOffset.UTC), where, depth)
    case one: java.sql.Timestamp => encoded(one.toInstant, where, depth)
    case one: Array[_] => encoded(one.toList, where, depth)
    case one: scala.collection.Map[_, _] => mapped(one.toList.map {
      case (key: String, item) => key -> item
      case (key, _) => refuse(s"$where is a map with the key $key; keys are text")
    }, where, depth)
    case _: scala.collection.Iterator[_] | _: Stream[_] => refuse(s"$where is ${value.getClass.getName}, which has no known end; send a List")
    case one: Traversable[_] =>
      one.toList.zipWithIndex.map { case (item, index) => encoded(item, s"$where($index)", depth + 1) }.mkString("[", ", ", "]")
    case _: Function0[_] | _: Function1[_, _] | _: Function2[_, _, _] => refuse(s"$where is a function, which no other language gets")
    case one: Product if one.productArity > 0 && one.getClass.getName.startsWith("scala.Tuple") =>
      encoded(one.productIterator.toList, where, depth)
    case one: Product if one.productArity > 0 =>
      val names = one.getClass.getDeclaredFields.map(_.getName).filterNot(_.contains("$")).take(one.productArity)
      mapped(names.toList.zip(one.productIterator.toList), where, depth)
    case _ => refuse(s"$where is of the class ${value.getClass.getName}, which no other language gets")
  }
  private def mapped(items: List[(String, Any)], where: String, depth: Int): String = {
    val text = items.map { case (key, item) => quoted(key) + ": " + encoded(item, s"""$where("$key")""", depth + 1) }.mkString("{", ", ", "}")
    if (items.exists(_._1 == "$type")) s"""{"$$type": "map", "value": $text}""" else text
  }
  private def tagged(kind: String, text: String) = s"""{"$$type": "$kind", "value": "$text"}"""
  private def moment(one: LocalDateTime) =
    java.time.format.DateTimeFormatter.ISO_LOCAL_DATE_TIME.format(one.truncatedTo(java.time.temporal.ChronoUnit.MICROS))
  private def frameLines(data: org.apache.spark.sql.DataFrame): Iterator[String] = {
    val columns = data.schema.fields.map { field =>
      val (kind, text) = writer(field)
      (s"""{"name": ${quoted(field.name)}, "type": "$kind"${if (kind == "datetime") ", \"timezone\": \"UTC\"" else ""}}""", text)
    }
    val rows = data.collect()
    val head = s"""$MAGIC{"columns": ${columns.map(_._1).mkString("[", ", ", "]")}, "rows": ${rows.length}}"""
    Iterator(head) ++ rows.iterator.filter(_ => columns.nonEmpty).map { row =>
      columns.indices.map(at => if (row.isNullAt(at)) "" else columns(at)._2(row.get(at))).mkString(",")
    }
  }
  private def writer(field: StructField): (String, Any => String) = field.dataType match {
    case ByteType | ShortType | IntegerType | LongType => ("int64", _.toString)
    case FloatType => ("float64", one => number(one.toString.toDouble))
    case DoubleType => ("float64", one => number(one.asInstanceOf[Double]))
    case BooleanType => ("bool", _.toString)
    case StringType => ("string", one => "\"" + one.toString.replace("\"", "\"\"") + "\"")
    case DateType => ("date", _.toString)
    case TimestampType => ("datetime", {
      case one: java.sql.Timestamp => moment(LocalDateTime.ofInstant(one.toInstant, ZoneOffset.UTC)) + "Z"
      case one: Instant => moment(LocalDateTime.ofInstant(one, ZoneOffset.UTC)) + "Z"
    })
    case kind => refuse(s"the column '${field.name}' is of the type ${kind.simpleString}; a column of a frame holds plain values: cast it")
  }
  private def number(one: Double) =
    if (one.isNaN) "NaN" else if (one.isInfinite) { if (one > 0) "Inf" else "-Inf" } else one.toString
  private def quoted(text: String): String = mapper.writeValueAsString(text)
}
